// call_key(args): 64 bits that tell calls apart by all that the choice of a backend may depend on.
//
// The Python twin, which says what counts, is `call_key` in nnzoo_fast/declined.py; this one takes a third of its time.
// Two calls that share a key by chance do no harm: one of them goes to stock torch, which gives the same answer.
#include "common/bind.h"

namespace nnzoo {
namespace {

// What `watch_calls` hands over: the two plain tensor types, and functions that return what holds for every call.
struct Torch {
  PyObject* tensor = nullptr;
  PyObject* parameter = nullptr;
  PyObject* is_grad_enabled = nullptr;
  PyObject* any_autocast_enabled = nullptr;
  PyObject* get_num_threads = nullptr;
} torch;

PyObject *shape_name, *dtype_name, *is_contiguous_name, *is_cpu_name, *requires_grad_name;

class Hash {
 public:
  void add(std::uint64_t value) {
    state_ = (state_ ^ value) * 0x9e3779b97f4a7c15u;
    state_ ^= state_ >> 32;
  }
  void add(const void* address) { add(static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address))); }
  std::uint64_t state() const { return state_; }

 private:
  std::uint64_t state_ = 0;
};

// Each `add_*` returns false with a Python error set. Booleans, None and dtypes live for ever: their address is they.

bool add_identity(Hash& hash, PyObject* owned) {
  if (owned == nullptr) return false;
  hash.add(owned);
  Py_DECREF(owned);
  return true;
}

bool add_value(Hash& hash, PyObject* value) {
  const Py_hash_t found = PyObject_Hash(value);
  if (found == -1) return false;
  hash.add(static_cast<std::uint64_t>(found));
  return true;
}

bool add_shape(Hash& hash, PyObject* owned) {
  if (owned == nullptr) return false;
  bool done = PyTuple_Check(owned);
  if (!done) PyErr_SetString(PyExc_TypeError, "call_key: a tensor's shape is no tuple");
  const Py_ssize_t dimensions = done ? PyTuple_GET_SIZE(owned) : 0;
  hash.add(static_cast<std::uint64_t>(dimensions));
  for (Py_ssize_t i = 0; done && i < dimensions; ++i) done = add_value(hash, PyTuple_GET_ITEM(owned, i));
  Py_DECREF(owned);
  return done;
}

bool add_tensor(Hash& hash, PyObject* tensor) {
  return add_shape(hash, PyObject_GetAttr(tensor, shape_name)) &&
         add_identity(hash, PyObject_GetAttr(tensor, dtype_name)) &&
         add_identity(hash, PyObject_CallMethodNoArgs(tensor, is_contiguous_name)) &&
         add_identity(hash, PyObject_GetAttr(tensor, is_cpu_name)) &&
         add_identity(hash, PyObject_GetAttr(tensor, requires_grad_name));
}

bool add_all(Hash& hash, PyObject* sequence);

bool add_argument(Hash& hash, PyObject* value) {
  PyObject* kind = reinterpret_cast<PyObject*>(Py_TYPE(value));
  if (kind == torch.tensor || kind == torch.parameter) return add_tensor(hash, value);
  if (PyList_CheckExact(value)) return add_all(hash, value);
  return add_value(hash, value);
}

// A value's own `__hash__` may change the list that holds it, and a list may hold itself.
bool add_all(Hash& hash, PyObject* sequence) {
  if (Py_EnterRecursiveCall(" in call_key")) return false;
  Py_ssize_t i = 0;
  for (bool done = true; done && i < PySequence_Fast_GET_SIZE(sequence); ++i) {
    PyObject* value = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
    done = add_argument(hash, value);
    Py_DECREF(value);
  }
  hash.add(static_cast<std::uint64_t>(i));
  Py_LeaveRecursiveCall();
  return PyErr_Occurred() == nullptr;
}

bool add_threads(Hash& hash, PyObject* owned) {
  if (owned == nullptr) return false;
  const bool done = add_value(hash, owned);
  Py_DECREF(owned);
  return done;
}

PyObject* call_key(PyObject*, PyObject* args) {
  if (!PyTuple_CheckExact(args)) return PyErr_Format(PyExc_TypeError, "call_key: args must be a tuple");
  if (torch.tensor == nullptr) return PyErr_Format(PyExc_RuntimeError, "call_key: watch_calls was not called");
  Hash hash;
  if (!add_identity(hash, PyObject_CallNoArgs(torch.is_grad_enabled))) return nullptr;
  if (!add_identity(hash, PyObject_CallNoArgs(torch.any_autocast_enabled))) return nullptr;
  if (!add_threads(hash, PyObject_CallNoArgs(torch.get_num_threads))) return nullptr;
  if (!add_all(hash, args)) return nullptr;
  return PyLong_FromUnsignedLongLong(hash.state());
}

// pybind11's own dispatch would cost as much as the key.
PyMethodDef call_key_definition{"call_key", call_key, METH_O, "A number for a tuple of arguments: see declined.py."};

void watch_calls(py::object tensor, py::object parameter, py::object is_grad_enabled, py::object any_autocast_enabled,
                 py::object get_num_threads) {
  torch = {tensor.release().ptr(), parameter.release().ptr(), is_grad_enabled.release().ptr(),
           any_autocast_enabled.release().ptr(), get_num_threads.release().ptr()};
}

const Binder bind_call_key([](py::module_& module) {
  shape_name = PyUnicode_InternFromString("shape");
  dtype_name = PyUnicode_InternFromString("dtype");
  is_contiguous_name = PyUnicode_InternFromString("is_contiguous");
  is_cpu_name = PyUnicode_InternFromString("is_cpu");
  requires_grad_name = PyUnicode_InternFromString("requires_grad");
  module.def("watch_calls", &watch_calls, py::arg("tensor"), py::arg("parameter"), py::arg("is_grad_enabled"),
             py::arg("any_autocast_enabled"), py::arg("get_num_threads"),
             "What `call_key` needs to know of torch; to be called before it.");
  module.add_object("call_key", PyCFunction_New(&call_key_definition, nullptr));
});

}  // namespace
}  // namespace nnzoo
