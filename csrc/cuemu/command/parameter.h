// A kernel's parameter as data, so that arguments can be checked where the kernel's types are not known.
#pragma once

#include <type_traits>

#include "cuemu/language.h"
#include "cuemu/reduced_precision.h"

namespace cuemu::command {

enum class Form { boolean, integer, natural, floating, half, bfloat16, nothing, other };

// `form` and `bytes` tell of one element: of what a pointer points to, of what a vector type consists of. `elements` is
// their number in a vector, and `size` that of the whole in bytes.
struct Parameter {
  bool is_pointer;
  Form form;
  unsigned bytes;
  unsigned elements;
  unsigned size;
  const char* type;  // as the compiler writes it, with other text around it: see `type_text`
};

template <class T>
struct Vector {
  using Element = T;
  static constexpr unsigned elements = 1;
};
#define CUEMU_VECTOR(type, name, count)         \
  template <>                                   \
  struct Vector<name> {                         \
    using Element = type;                       \
    static constexpr unsigned elements = count; \
  };
#define CUEMU_VECTORS(type, name) \
  CUEMU_VECTOR(type, name##1, 1)  \
  CUEMU_VECTOR(type, name##2, 2)  \
  CUEMU_VECTOR(type, name##3, 3)  \
  CUEMU_VECTOR(type, name##4, 4)
CUEMU_VECTORS(signed char, char)
CUEMU_VECTORS(unsigned char, uchar)
CUEMU_VECTORS(short, short)
CUEMU_VECTORS(unsigned short, ushort)
CUEMU_VECTORS(int, int)
CUEMU_VECTORS(unsigned, uint)
CUEMU_VECTORS(long, long)
CUEMU_VECTORS(unsigned long, ulong)
CUEMU_VECTORS(long long, longlong)
CUEMU_VECTORS(unsigned long long, ulonglong)
CUEMU_VECTORS(float, float)
CUEMU_VECTORS(double, double)
CUEMU_VECTOR(__half, __half2, 2)
CUEMU_VECTOR(__nv_bfloat16, __nv_bfloat162, 2)
#undef CUEMU_VECTORS
#undef CUEMU_VECTOR

template <class T>
constexpr Form form_of() {
  if constexpr (std::is_same_v<T, bool>) return Form::boolean;
  if constexpr (std::is_same_v<T, __half>) return Form::half;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return Form::bfloat16;
  if constexpr (std::is_void_v<T>) return Form::nothing;
  if constexpr (std::is_enum_v<T>) return form_of<std::underlying_type_t<T>>();
  if constexpr (std::is_floating_point_v<T>) return Form::floating;
  if constexpr (std::is_integral_v<T>) return std::is_signed_v<T> ? Form::integer : Form::natural;
  return Form::other;
}

template <class T>
constexpr Parameter describe_element(bool is_pointer, const char* type) {
  if constexpr (std::is_void_v<T>) {
    return {is_pointer, Form::nothing, 1, 1, 1, type};
  } else {
    using Element = typename Vector<T>::Element;
    return {is_pointer, form_of<Element>(), sizeof(Element), Vector<T>::elements, sizeof(T), type};
  }
}

template <class T>
constexpr Parameter describe() {
  using Pointee = std::remove_cv_t<std::remove_pointer_t<T>>;
  return describe_element<Pointee>(std::is_pointer_v<T>, __PRETTY_FUNCTION__);
}

}  // namespace cuemu::command
