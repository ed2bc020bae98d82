// Rows of an image laid out so that windows of any stride are vectors: the elements that tap k of neighbouring windows
// read are neighbours.
//
// A row is padded on both sides and cut into as many *phases* as the stride has steps: phase p holds the padded
// elements p, p + stride, p + 2 stride, ... Tap k of window o is then element o + k * dilation / stride of phase
// k * dilation % stride. Windows overlap, so rows are kept in a ring until no window wants them.
#pragma once

#include "common/scratch.h"
#include "common/simd.h"
#include "common/windows.h"
#include "common/zip.h"

namespace nnzoo {
namespace NNZOO_ISA {

// How the width of an image is cut. `begin` and `end` of a phase: its elements that are inside the image. `phase` and
// `shift` of a tap: where the tap of window 0 lies.
struct Phases {
  std::int64_t stride, padding, width;
  std::int64_t *begin, *end;
  std::int64_t *phase, *shift;
  std::int64_t longest_shift;

  Phases(const Windows& windows, Scratch& scratch)
      : stride(windows.stride[2]), padding(windows.padding[2]), width(windows.input[2]) {
    begin = scratch.take<std::int64_t>(2 * stride);
    end = begin + stride;
    for (std::int64_t p = 0; p < stride; ++p) {
      begin[p] = elements_before(padding, p);
      end[p] = elements_before(padding + width, p);
    }
    phase = scratch.take<std::int64_t>(2 * windows.kernel[2]);
    shift = phase + windows.kernel[2];
    for (std::int64_t k = 0; k < windows.kernel[2]; ++k) {
      phase[k] = k * windows.dilation[2] % stride;
      shift[k] = k * windows.dilation[2] / stride;
    }
    longest_shift = shift[windows.kernel[2] - 1];
  }

  // Where element i of phase p lies in the image.
  std::int64_t position(std::int64_t p, std::int64_t i) const { return i * stride + p - padding; }

  // Puts what is inside the image of each phase, from its element `begin` on, in its place in a row.
  template <class T, class S>
  void interleave(const T* const* parts, S* row) const {
    if (stride == 2) {
      const std::int64_t even = padding % 2, half = width / 2;
      zip(parts[even], parts[1 - even], half, row);
      if (width % 2) row[2 * half] = from_float<S>(parts[even][half]);
      return;
    }
    for (std::int64_t p = 0; p < stride; ++p) {
      const std::int64_t count = end[p] - begin[p];
      S* const to = row + position(p, begin[p]);
      for (std::int64_t i = 0; i < count; ++i) to[i * stride] = from_float<S>(parts[p][i]);
    }
  }

 private:
  std::int64_t elements_before(std::int64_t padded, std::int64_t p) const {
    return padded > p ? (padded - p + stride - 1) / stride : 0;
  }
};

// What is laid out: the elements as they are.
struct Plain {
  static constexpr bool plain = true;
};

// A `Rule` that isn't plain lays out term(x) for element x.
template <class S, class Rule = Plain>
class WindowRows {
  using T = Compute<S>;

 public:
  // `filler` stands where a window leaves the image.
  WindowRows(const S* images, const Windows& windows, T filler, Scratch& scratch, const Rule& rule = Rule())
      : images_(images), windows_(windows), filler_(filler), rule_(rule), phases_(windows, scratch) {
    length_ = windows.output[2] + phases_.longest_shift;
    for (std::int64_t p = 0; p < phases_.stride; ++p) {
      if (phases_.end[p] > length_) length_ = phases_.end[p];
    }
    row_size_ = length_ * phases_.stride;
    slots_ = static_cast<std::uint32_t>((windows.kernel[1] - 1) * windows.dilation[1] + 1);
    const std::int64_t rows = windows.kernel[0] * slots_;
    rows_ = scratch.take<T>(rows * row_size_);
    held_ = scratch.take<std::int64_t>(rows);
    for (std::int64_t i = 0; i < rows; ++i) held_[i] = -1;
    terms_ = Rule::plain ? nullptr : scratch.take<T>(windows.input[2]);
  }

  // Row h of depth d of an image, which tap kd of the depth reads; valid until the ring comes round.
  NNZOO_INLINE const T* row(std::int64_t image, std::int64_t kd, std::int64_t d, std::int64_t h) {
    const std::int64_t wanted = (image * windows_.input[0] + d) * windows_.input[1] + h;
    const std::int64_t slot = kd * slots_ + static_cast<std::uint32_t>(h) % slots_;
    T* const row = rows_ + slot * row_size_;
    if (held_[slot] != wanted) {
      const S* const from = images_ + wanted * windows_.input[2];
      if constexpr (Rule::plain) {
        lay_out(from, row);
      } else {
        for_each_vector<T>(windows_.input[2], [&](std::int64_t i, int some) {
          rule_.term(Vec<T>::load(from + i, some)).store(terms_ + i, some);
        });
        lay_out(terms_, row);
      }
      held_[slot] = wanted;
    }
    return row;
  }

  // Where in a row tap kw of the first window stands; that of the next window follows it.
  NNZOO_INLINE std::int64_t tap(std::int64_t kw) const { return phases_.phase[kw] * length_ + phases_.shift[kw]; }

 private:
  template <class From>
  void lay_out(const From* row, T* out) const {
    const std::int64_t stride = phases_.stride, width = windows_.input[2];
    for (std::int64_t p = 0; p < stride; ++p) {
      T* const phase = out + p * length_;
      for (std::int64_t i = 0; i < phases_.begin[p]; ++i) phase[i] = filler_;
      for (std::int64_t i = phases_.end[p]; i < length_; ++i) phase[i] = filler_;
    }
    if (stride == 2) {
      const std::int64_t even = phases_.padding % 2;
      T* const first = out + even * length_ + phases_.begin[even];
      unzip(row, width / 2, first, out + (1 - even) * length_ + phases_.begin[1 - even]);
      if (width % 2) first[width / 2] = to_float(row[width - 1]);
      return;
    }
    for (std::int64_t p = 0; p < stride; ++p) {
      const std::int64_t begin = phases_.begin[p], count = phases_.end[p] - begin;
      const From* const from = row + phases_.position(p, begin);
      T* const phase = out + p * length_ + begin;
      if (stride == 1) {
        for_each_vector<T>(count,
                           [&](std::int64_t i, int some) { Vec<T>::load(from + i, some).store(phase + i, some); });
      } else {
        for (std::int64_t i = 0; i < count; ++i) phase[i] = to_float(from[i * stride]);
      }
    }
  }

  const S* const images_;
  const Windows& windows_;
  const T filler_;
  const Rule rule_;
  const Phases phases_;
  std::int64_t length_, row_size_;
  std::uint32_t slots_;
  T *rows_, *terms_;
  std::int64_t* held_;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
