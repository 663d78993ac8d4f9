// Vectors of 8 or 16 floats, panels of 16 columns, and the exponential function.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int PANEL = 16;               // columns
constexpr int VECTORS = PANEL / LANES;  // per row of a panel
static_assert(PANEL % LANES == 0, "a row of a panel must consist of whole vectors");

using Vector = float __attribute__((vector_size(4 * LANES)));
using Bits = uint32_t __attribute__((vector_size(4 * LANES)));

Vector load(const float* place) {
  Vector vector;
  std::memcpy(&vector, place, sizeof vector);
  return vector;
}

void store(float* place, Vector vector) { std::memcpy(place, &vector, sizeof vector); }

Vector broadcast(float x) { return x - Vector{}; }

Bits broadcast_bits(uint32_t x) { return x - Bits{}; }

// first, first + 1 …
Bits counted_from(uint32_t first) {
  Bits numbers = {};
  for (int lane = 0; lane < LANES; lane++) numbers[lane] = first + lane;
  return numbers;
}

size_t padded(int64_t columns) { return static_cast<size_t>(columns + PANEL - 1) / PANEL * PANEL; }

struct Power {
  Vector scale, rest;  // e^x = scale * (1 + rest)
};

// x = n ln 2 + r with |r| <= ln 2 / 2. A polynomial approximates e^r - 1 (expf of S. Moshier's
// Cephes); its error is below 2e-7 e^r. NaN stays NaN.
Power power(Vector x) {
  x = x > broadcast(88.0f) ? broadcast(88.0f) : x;
  x = x < broadcast(-87.0f) ? broadcast(-87.0f) : x;
  const Vector rounder = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  Vector shifted = x * broadcast(1.44269504088896341f) + rounder;
  Vector n = shifted - rounder;
  Vector r = x - n * broadcast(0.693359375f) + n * broadcast(2.12194440e-4f);
  Vector p = broadcast(1.9875691500e-4f);
  for (float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                            1.6666665459e-1f, 5.0000001201e-1f})
    p = p * r + broadcast(coefficient);
  Bits exponent = (reinterpret_cast<Bits>(shifted) << 23) + broadcast_bits(127u << 23);
  return {reinterpret_cast<Vector>(exponent), p * r * r + r};
}

Vector exponential(Vector x) {
  Power e = power(x);
  return e.scale * e.rest + e.scale;
}

// e^x - 1 without cancellation near zero.
Vector exponential_minus_one(Vector x) {
  Power e = power(x);
  return e.scale * e.rest + (e.scale - broadcast(1.0f));
}

}  // namespace
