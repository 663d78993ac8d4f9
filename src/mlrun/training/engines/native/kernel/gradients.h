// Penalties, clipping and norm of the gradients, before the parameters are updated.

#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "interface.h"
#include "network.h"
#include "vector.h"

namespace {

using Numbers = std::vector<float>;

// Number of parameters whose squares are summed separately. The rounding of the sum depends on it,
// so it is the same on all machines. 16 KiB of gradients fit into the L1 cache.
constexpr size_t CHUNK = 4096;
static_assert(CHUNK % PANEL == 0, "squares() reads whole vectors and must not read beyond a chunk");

// Each of these functions handles only the parameters `from` … `to`.
void add_penalties(const Network& network, const Numbers& parameters, Numbers& gradients,
                   size_t from, size_t to) {
  const float l1 = static_cast<float>(network.plan.l1), l2 = static_cast<float>(network.plan.l2);
  if (l1 == 0 && l2 == 0) return;
  for (const Layer& layer : network.layers)
    for (size_t i = std::max(from, layer.weights); i < std::min(to, layer.biases); i++) {
      const float w = parameters[i], sign = w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f;
      gradients[i] += l1 * sign + 2 * l2 * w;
    }
}

void clip_values(const NetworkPlan& plan, Numbers& gradients, size_t from, size_t to) {
  if (plan.clip_value == 0) return;
  const float most = static_cast<float>(plan.clip_value);
  for (size_t i = from; i < to; i++)
    gradients[i] = gradients[i] > most ? most : gradients[i] < -most ? -most : gradients[i];
}

// `from` and `to` are multiples of PANEL, like the number of packed parameters.
double squares(const Numbers& gradients, size_t from, size_t to) {
  Vector sums[2] = {};
  for (size_t i = from; i < to; i += LANES) {
    const Vector some = load(&gradients[i]);
    sums[i / LANES % 2] += some * some;
  }
  double sum = 0;
  for (const Vector& vector : sums)
    for (int lane = 0; lane < LANES; lane++) sum += vector[lane];
  return sum;
}

void clip_norm(const NetworkPlan& plan, double norm, Numbers& gradients, size_t from, size_t to) {
  if (plan.clip_norm == 0) return;
  const float factor = static_cast<float>(std::min(1.0, plan.clip_norm / (norm + 1e-6)));
  for (size_t i = from; i < to; i++) gradients[i] *= factor;
}

}  // namespace
