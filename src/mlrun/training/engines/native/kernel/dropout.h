// Dropout masks from counter-based random numbers, so that any step of any run can be repeated.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vector.h"

namespace {

// A bijection of the 32-bit numbers that mixes their bits (lowbias32, C. Wellons).
template <typename Number>
Number hash32(Number x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

// The masks of one layer in one epoch. They depend only on the key, the column and the row's place
// in the epoch. mlrun/models/dropout.py computes the same masks in torch.
struct Dropout {
  uint64_t key;
  uint32_t dropped_below;
  float kept;  // 1 / (1 - p)

  Dropout(uint64_t key, double share)
      : key(key),
        dropped_below(
            static_cast<uint32_t>(std::min(std::round(share * 4294967296.0), 4294967295.0))),
        kept(static_cast<float>(1.0 / (1.0 - share))) {}

  uint32_t row_key(uint64_t row) const {
    uint32_t low = hash32(static_cast<uint32_t>(key) ^ static_cast<uint32_t>(row));
    return hash32(low + static_cast<uint32_t>(key >> 32) + static_cast<uint32_t>(row >> 32));
  }

  Vector mask(uint32_t row_key, size_t column) const {
    Bits columns = counted_from(static_cast<uint32_t>(column));
    Bits random = hash32(columns * 0x9e3779b9u + row_key);
    return random < broadcast_bits(dropped_below) ? broadcast(0.0f) : broadcast(kept);
  }
};

}  // namespace
