// Matrix products, tile by tile; they take nearly all of the time.

#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "parallel_loops.h"
#include "vector.h"

namespace {

// Rows (or inputs) of a tile: its 12 sums, the weights and a broadcast number fill 15 of AVX2's 16
// registers. The tile of the specialised kernel bench/peers/limit.cpp, to which
// bench/peers/kernels.py compares this one, also has 6 rows.
constexpr int TILE_ROWS = 12 / VECTORS;

using RowPointers = std::vector<const float*>;

// Calls body(size, start) for whole tiles, then for the remaining rows; size is a compile-time
// constant.
template <int SIZE = TILE_ROWS, typename Body>
void in_tiles(size_t count, const Body& body, size_t start = 0) {
  for (; start + SIZE <= count; start += SIZE) body(std::integral_constant<int, SIZE>(), start);
  if constexpr (SIZE > 1) in_tiles<SIZE - 1>(count, body, start);
}

// One tile of H W + b: ROWS rows and the 16 columns of a panel.
template <int ROWS>
void product_tile(const float* const* rows, size_t inner, const float* panel, const float* bias,
                  float* out, size_t stride) {
  Vector sums[ROWS][VECTORS];
  for (int v = 0; v < VECTORS; v++)
    for (int i = 0; i < ROWS; i++) sums[i][v] = bias ? load(bias + v * LANES) : broadcast(0.0f);
  for (size_t k = 0; k < inner; k++) {
    Vector weights[VECTORS];
    for (int v = 0; v < VECTORS; v++) weights[v] = load(panel + k * PANEL + v * LANES);
#pragma GCC unroll 12
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < VECTORS; v++) sums[i][v] += broadcast(rows[i][k]) * weights[v];
  }
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS; v++) store(out + i * stride + v * LANES, sums[i][v]);
}

// Calls body(size, start, column) for every tile of `count` rows (or inputs) and every panel of
// `width` columns; each number takes `depth` multiply-adds.
template <typename Body>
void each_tile(ParallelLoops& loops, size_t count, size_t width, size_t depth, const Body& body) {
  const size_t tiles = (count + TILE_ROWS - 1) / TILE_ROWS, panels = width / PANEL;
  loops.run(tiles * panels, count * width * depth, [&](size_t from, size_t to) {
    for (size_t panel = from / tiles; panel * tiles < to; panel++) {
      const size_t first = panel * tiles < from ? from - panel * tiles : 0;
      const size_t last = std::min(tiles, to - panel * tiles);
      in_tiles(
          std::min(count, last * TILE_ROWS),
          [&](auto size, size_t start) { body(size, start, panel * PANEL); }, first * TILE_ROWS);
    }
  });
}

// out = rows x weights + bias, for `count` rows of `inner` numbers and `width` packed columns.
void product(ParallelLoops& loops, const float* const* rows, size_t count, size_t inner,
             const float* weights, const float* bias, size_t width, float* out) {
  each_tile(loops, count, width, inner, [&](auto size, size_t start, size_t column) {
    product_tile<size>(rows + start, inner, weights + column * inner,
                       bias ? bias + column : nullptr, out + start * width + column, width);
  });
}

// One tile of H^T D: SIZE inputs, starting with `input`, and the 16 columns of a panel.
template <int SIZE>
void gradient_tile(const float* const* rows, size_t count, size_t input, const float* delta,
                   size_t stride, float* out) {
  Vector sums[SIZE][VECTORS] = {};
  for (size_t r = 0; r < count; r++) {
    const float* inputs = rows[r] + input;
    Vector deltas[VECTORS];
    for (int v = 0; v < VECTORS; v++) deltas[v] = load(delta + r * stride + v * LANES);
#pragma GCC unroll 12
    for (int i = 0; i < SIZE; i++)
      for (int v = 0; v < VECTORS; v++) sums[i][v] += broadcast(inputs[i]) * deltas[v];
  }
  for (int i = 0; i < SIZE; i++)
    for (int v = 0; v < VECTORS; v++) store(out + i * PANEL + v * LANES, sums[i][v]);
}

// dW = rows^T x delta, packed like the weights.
void weight_gradient(ParallelLoops& loops, const float* const* rows, size_t count, size_t inputs,
                     const float* delta, size_t width, float* out) {
  each_tile(loops, inputs, width, count, [&](auto size, size_t start, size_t column) {
    gradient_tile<size>(rows, count, start, delta + column, width,
                        out + column * inputs + start * PANEL);
  });
}

void column_sums(const float* delta, size_t count, size_t width, float* out) {
  for (size_t column = 0; column < width; column += LANES) {
    Vector sum = broadcast(0.0f);
    for (size_t r = 0; r < count; r++) sum += load(delta + r * width + column);
    store(out + column, sum);
  }
}

}  // namespace
