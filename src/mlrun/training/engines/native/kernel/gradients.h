// What happens to the gradients before the step: penalties, clipping, their norm.

#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "interface.h"
#include "network.h"
#include "vector.h"

namespace {

using Numbers = std::vector<float>;

// Parameters whose squares are summed on their own. The sums depend on it, so it is the same on all
// machines; 16 KiB of gradients stay in the first cache.
constexpr size_t CHUNK = 4096;
static_assert(CHUNK % PANEL == 0, "a chunk is whole vectors: squares() reads nothing beyond it");

// Each of these takes the parameters from … to alone.
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

// `from` and `to` are multiples of PANEL, as the number of packed parameters is.
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
