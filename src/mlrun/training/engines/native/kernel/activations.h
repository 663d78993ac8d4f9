// Activation functions and their derivatives, as torch defines them, on vectors.

#pragma once

#include "interface.h"
#include "vector.h"

namespace {

Vector sigmoid(Vector x) { return broadcast(1.0f) / (broadcast(1.0f) + exponential(-x)); }

// The distribution function of the standard normal and its density. erf by Abramowitz and Stegun,
// Handbook of Mathematical Functions, 7.1.26: its error is below 1.5e-7.
void normal(Vector x, Vector& below, Vector& density) {
  Vector magnitude = (x < broadcast(0.0f) ? -x : x) * broadcast(0.70710678118654752f);
  Vector t = broadcast(1.0f) / (broadcast(1.0f) + broadcast(0.3275911f) * magnitude);
  Vector p = broadcast(1.061405429f);
  for (float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    p = p * t + broadcast(coefficient);
  Vector bell = exponential(-magnitude * magnitude);
  Vector tail = broadcast(0.5f) * p * t * bell;
  below = x < broadcast(0.0f) ? tail : broadcast(1.0f) - tail;
  density = bell * broadcast(0.39894228040143268f);
}

// f(z) and f'(z). Comparisons are written so that NaN stays NaN.
struct Activated {
  Vector value, slope;
};

Activated activate(int64_t activation, Vector z) {
  const Vector zero = broadcast(0.0f), one = broadcast(1.0f);
  switch (activation) {
    case RELU:
      return {z < zero ? zero : z, z > zero ? one : zero};
    case LEAKY_RELU:
      return {z < zero ? broadcast(0.01f) * z : z, z > zero ? one : broadcast(0.01f)};
    case TANH: {
      Vector e = exponential_minus_one(broadcast(2.0f) * z);
      Vector value = e / (e + broadcast(2.0f));
      return {value, one - value * value};
    }
    case SIGMOID: {
      Vector value = sigmoid(z);
      return {value, value * (one - value)};
    }
    case ELU: {
      Vector value = exponential_minus_one(z > zero ? zero : z);
      return {z > zero ? z : value, z > zero ? one : value + one};
    }
    case SILU: {
      Vector share = sigmoid(z);
      return {z * share, share * (one + z * (one - share))};
    }
    case GELU: {
      Vector below, density;
      normal(z, below, density);
      return {z * below, below + z * density};
    }
    default:
      return {z, one};
  }
}

}  // namespace
