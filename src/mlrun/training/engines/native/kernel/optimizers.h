// Optimizers: torch's formulas, one pass over the parameters.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "interface.h"

namespace {

struct ParameterRange {
  float *__restrict__ p, *__restrict__ first, *__restrict__ second;
  const float* __restrict__ gradients;
  size_t count;
};

void sgd(const NetworkPlan& plan, const ParameterRange& s, float rate, float momentum) {
  const float decay = static_cast<float>(plan.weight_decay);
  const float now = plan.nesterov ? 1.0f : 0.0f, past = plan.nesterov ? momentum : 1.0f;
  for (size_t i = 0; i < s.count; i++) {
    const float g = s.gradients[i] + decay * s.p[i];
    if (!s.first) {
      s.p[i] -= rate * g;
      continue;
    }
    s.first[i] = momentum * s.first[i] + g;
    s.p[i] -= rate * (now * g + past * s.first[i]);
  }
}

void adam(const NetworkPlan& plan, const ParameterRange& s, double rate, double beta1,
          int64_t step) {
  const float decay = plan.optimizer == ADAM ? static_cast<float>(plan.weight_decay) : 0.0f;
  const float kept =
      plan.optimizer == ADAMW ? static_cast<float>(1 - rate * plan.weight_decay) : 1.0f;
  const float new1 = static_cast<float>(1 - beta1), old2 = static_cast<float>(plan.beta2);
  const float new2 = static_cast<float>(1 - plan.beta2);
  const float size = static_cast<float>(rate / (1 - std::pow(beta1, step)));
  const float root = static_cast<float>(std::sqrt(1 - std::pow(plan.beta2, step)));
  const float epsilon = static_cast<float>(plan.epsilon);
  for (size_t i = 0; i < s.count; i++) {
    const float g = s.gradients[i] + decay * s.p[i];
    s.first[i] += (g - s.first[i]) * new1;
    s.second[i] = old2 * s.second[i] + new2 * g * g;
    s.p[i] = kept * s.p[i] - size * s.first[i] / (std::sqrt(s.second[i]) / root + epsilon);
  }
}

void rmsprop(const NetworkPlan& plan, const ParameterRange& s, float rate, float momentum) {
  const float decay = static_cast<float>(plan.weight_decay);
  const float old = static_cast<float>(plan.beta2), fresh = static_cast<float>(1 - plan.beta2);
  const float epsilon = static_cast<float>(plan.epsilon);
  for (size_t i = 0; i < s.count; i++) {
    const float g = s.gradients[i] + decay * s.p[i];
    s.first[i] = old * s.first[i] + fresh * g * g;
    float move = g / (std::sqrt(s.first[i]) + epsilon);
    if (s.second) move = s.second[i] = momentum * s.second[i] + move;
    s.p[i] -= rate * move;
  }
}

void adagrad(const NetworkPlan& plan, const ParameterRange& s, double rate, int64_t step) {
  const float decay = static_cast<float>(plan.weight_decay);
  const float epsilon = static_cast<float>(plan.epsilon);
  const float size = static_cast<float>(rate / (1 + (step - 1) * plan.rate_decay));
  for (size_t i = 0; i < s.count; i++) {
    const float g = s.gradients[i] + decay * s.p[i];
    s.first[i] += g * g;
    s.p[i] -= size * g / (std::sqrt(s.first[i]) + epsilon);
  }
}

void update(const NetworkPlan& plan, const ParameterRange& state, double rate, double momentum,
            int64_t step) {
  switch (plan.optimizer) {
    case SGD:
      return sgd(plan, state, static_cast<float>(rate), static_cast<float>(momentum));
    case RMSPROP:
      return rmsprop(plan, state, static_cast<float>(rate), static_cast<float>(momentum));
    case ADAGRAD:
      return adagrad(plan, state, rate, step);
    default:
      return adam(plan, state, rate, momentum, step);
  }
}

}  // namespace
