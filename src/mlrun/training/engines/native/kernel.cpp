// Multilayer perceptrons trained on the CPU: a whole epoch of a network in one call.
//
// The mathematics. A network of L layers maps a batch X (B rows) to outputs H_L:
//
//     Z_l = H_(l-1) W_l + b_l        H_l = f(Z_l) * M_l        H_0 = X, no f and no M at the end
//
// where M_l is the dropout mask: 0 or 1/(1 - p). With D_l the gradient of the mean loss with
// respect to Z_l, the chain rule gives, from the last layer to the first:
//
//     dW_l = H_(l-1)^T D_l      db_l = column sums of D_l      D_(l-1) = (D_l W_l^T) * S_(l-1)
//
// with S_l = f'(Z_l) * M_l, computed together with H_l. The gradients of the penalties
// l1 |w| + l2 w^2 are added, the result is clipped, and one pass over the parameters updates them.
//
// The layout. Outputs are grouped in panels of 16 columns (one vector of 16 floats, or two of 8).
// Packed weights are stored panel by panel, 16 columns of row k next to each other, so that a tile of
// 12 rows (or 6) x 16 columns of the product stays in 12 registers while k runs: each step loads 16
// weights and multiplies them with one number of each row. The weights' gradients use the same tile
// with rows and k exchanged. Rows are reached through pointers, so a shuffled batch is never copied. Columns
// beyond the last output are padding: their weights start at zero, get no gradient and stay zero.
//
// The bits. Every sum runs in one fixed order, whatever the tile, the place of a row in its batch,
// or the thread: a row's outputs do not depend on its neighbours, and a network trained among
// others, or by several threads, equals bit for bit the same network trained alone by one. Compile
// without -ffast-math.
//
// The threads. A crew's threads take jobs from a queue, each from its beginning to its end. Large
// steps are shared: the thread that has the job cuts a product, or a pass over the parameters, into
// shares, and those that have nothing else to do take some of them. It never waits for who has not
// come, only for shares that were taken.
//
// The interface is plain C, for ctypes. A state is what torch has, one number after another: of
// each layer the weights (outputs x inputs) and the biases, then in the same order the optimizer's
// moments. It is packed when a call begins and unpacked at the end of each epoch.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <mutex>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

extern "C" {

enum Activation { IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, ELU, SILU, GELU };
enum Loss { MSE, MAE, HUBER, SMOOTH_L1, CROSS_ENTROPY, BCE_WITH_LOGITS };
enum Optimizer { SGD, ADAM, ADAMW, RMSPROP, ADAGRAD };

// What a network is and how it learns; the same in all its epochs.
struct Plan {
  int64_t layers;
  const int64_t* sizes;  // layers + 1: inputs, hidden ones, outputs
  int64_t activation;    // of the hidden layers
  double dropout;        // behind each hidden layer: the share that is dropped
  int64_t loss;
  double loss_setting;  // huber: delta; smooth_l1: beta; cross_entropy: label smoothing
  int64_t optimizer;
  int64_t moments;  // sgd: momentum | adam: both | rmsprop: squares, momentum | adagrad: sums
  int64_t nesterov;
  double beta2;  // adam: of the squares; rmsprop: alpha
  double epsilon;
  double weight_decay;
  double rate_decay;  // adagrad's lr_decay
  double l1, l2;
  double clip_norm, clip_value;  // 0: none
};

// An epoch of a network, or some steps of one: what they need and, at the end, what became of them.
struct Epoch {
  const int64_t* order;   // the rows of the first step, of the second …
  const int64_t* counts;  // how many rows each step has
  const double* rates;    // each step's learning rate
  const double* momenta;  // each step's momentum, or adam's first beta
  int64_t steps;
  int64_t steps_before;       // since the beginning of the training: Adam's bias correction
  int64_t rows_before;        // since the beginning of the epoch: the dropout masks
  const uint64_t* keys;       // one for each hidden layer: seed, epoch and layer in a number
  float* state;               // where it goes at the end
  float* outputs;             // of the validation rows, afterwards; or null
  double loss;                // out: the sum of the rows' losses, each before its step
  int64_t done;               // out: steps done; fewer than `steps` if one was not finite
  double step_loss;           // out: mean loss and norm of the gradients of the last step tried
  double step_norm;
};

// Epochs of a network, one after another; after a step that is not finite there are no more.
struct Training {
  const Plan* plan;
  const float* state;   // to begin with
  const float* inputs;  // rows x sizes[0]
  const void* targets;  // rows x outputs float, or for cross entropy rows x 1 int64
  const float* valid_inputs;
  int64_t valid_rows;
  Epoch* epochs;
  int64_t count;
  int64_t threads;  // at most so many share a step
  int64_t status;   // the crew's own
};

// Rows through a network, without dropout.
struct Forward {
  const Plan* plan;
  const float* state;   // its moments are not looked at
  const float* inputs;  // rows x sizes[0]
  int64_t rows;
  float* outputs;   // rows x outputs
  int64_t threads;  // at most so many share it
  int64_t status;   // the crew's own
};
}

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int PANEL = 16;
constexpr int VECTORS = PANEL / LANES;
constexpr int TILE = 12 / VECTORS;  // rows: 12 sums, the weights and a broadcast fill 15 registers
constexpr int64_t ROWS_AT_ONCE = 256;  // when only outputs are wanted
constexpr size_t CHUNK = 4096;         // parameters whose squares are summed on their own
constexpr size_t WORTH_SHARING = 400'000;  // multiply-adds or the like: some 10 microseconds
constexpr int SHARES = 3;                  // for each thread: they do not always come at once
constexpr int PATIENCE = 2'000;            // looks, before the core is left to others

using Vector = float __attribute__((vector_size(4 * LANES)));
using Bits = uint32_t __attribute__((vector_size(4 * LANES)));

Vector load(const float* place) {
  Vector vector;
  std::memcpy(&vector, place, sizeof vector);
  return vector;
}

void store(float* place, Vector vector) { std::memcpy(place, &vector, sizeof vector); }

Vector all(float x) { return x - Vector{}; }

Bits all_bits(uint32_t x) { return x - Bits{}; }

// first, first + 1 …
Bits counted_from(uint32_t first) {
  Bits numbers;
  for (int lane = 0; lane < LANES; lane++) numbers[lane] = first + lane;
  return numbers;
}

size_t padded(int64_t columns) { return static_cast<size_t>(columns + PANEL - 1) / PANEL * PANEL; }

// body(size, start) for whole tiles, then for what is left; size is known to the compiler.
template <int SIZE = TILE, typename Body>
void in_tiles(size_t count, const Body& body, size_t start = 0) {
  for (; start + SIZE <= count; start += SIZE) body(std::integral_constant<int, SIZE>(), start);
  if constexpr (SIZE > 1) in_tiles<SIZE - 1>(count, body, start);
}

// --- sharing a step among threads -------------------------------------------------------------

void pause(int& looks) {
  if (++looks > PATIENCE) return std::this_thread::yield();
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// One thread's work, and those who help it.
class Team {
 public:
  explicit Team(int64_t threads) : threads_(threads) {}

  // Call body(from, to) for parts that make up 0 … count; back when all is done.
  template <typename Body>
  void share(size_t count, size_t work, const Body& body) {
    if (threads_ < 2 || count < 2 || work < WORTH_SHARING) return body(size_t{0}, count);
    body_ = &body;
    call_ = [](const void* body, size_t from, size_t to) {
      (*static_cast<const Body*>(body))(from, to);
    };
    count_ = count;
    shares_ = std::min<size_t>(count, SHARES * threads_);
    done_.store(0, std::memory_order_relaxed);
    open_.store(++round_ << 32 | shares_, std::memory_order_release);
    while (take_one()) {
    }
    for (int looks = 0; done_.load(std::memory_order_acquire) < shares_;) pause(looks);
  }

  // Whether another helper is wanted; then it must help.
  bool welcome() {
    if (helpers_ + 1 >= threads_) return false;
    helpers_++;
    return true;
  }

  // Take shares until the work is over or there is other work.
  void help(const std::atomic<bool>& other_work) {
    for (int looks = 0; !over_ && !other_work;) {
      if (take_one())
        looks = 0;
      else
        pause(looks);
    }
    helpers_--;
  }

  // Nobody may join any more.
  void dismiss() {
    over_ = true;
    for (int looks = 0; helpers_ > 0;) pause(looks);
  }

 private:
  bool take_one() {
    uint64_t open = open_.load(std::memory_order_acquire);
    do {
      if (!(open & 0xffffffffu)) return false;
    } while (!open_.compare_exchange_weak(open, open - 1, std::memory_order_acquire));
    const size_t share = (open & 0xffffffffu) - 1;
    call_(body_, count_ * share / shares_, count_ * (share + 1) / shares_);
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }

  const int64_t threads_;
  uint64_t round_ = 0;  // with it, a share of one round is never taken for one of the next
  const void* body_ = nullptr;
  void (*call_)(const void*, size_t, size_t) = nullptr;
  size_t count_ = 0, shares_ = 0;
  std::atomic<uint64_t> open_{0};  // the round, and how many of its shares are left
  std::atomic<size_t> done_{0};
  std::atomic<int64_t> helpers_{0};
  std::atomic<bool> over_{false};
};

// --- vectorised functions -------------------------------------------------------------------

struct Power {
  Vector scale, rest;  // e^x = scale * (1 + rest)
};

// x = n ln 2 + r with |r| <= ln 2 / 2; e^r - 1 by a polynomial (Cephes' expf, S. Moshier), whose
// error is below 2e-7 of e^r. NaN stays NaN.
Power power(Vector x) {
  x = x > all(88.0f) ? all(88.0f) : x;
  x = x < all(-87.0f) ? all(-87.0f) : x;
  const Vector rounder = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  Vector shifted = x * all(1.44269504088896341f) + rounder;
  Vector n = shifted - rounder;
  Vector r = x - n * all(0.693359375f) + n * all(2.12194440e-4f);
  Vector p = all(1.9875691500e-4f);
  for (float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                            1.6666665459e-1f, 5.0000001201e-1f})
    p = p * r + all(coefficient);
  Bits exponent = (reinterpret_cast<Bits>(shifted) << 23) + all_bits(127u << 23);
  return {reinterpret_cast<Vector>(exponent), p * r * r + r};
}

Vector exponential(Vector x) {
  Power e = power(x);
  return e.scale * e.rest + e.scale;
}

// e^x - 1 without cancellation near zero.
Vector exponential_minus_one(Vector x) {
  Power e = power(x);
  return e.scale * e.rest + (e.scale - all(1.0f));
}

Vector sigmoid(Vector x) { return all(1.0f) / (all(1.0f) + exponential(-x)); }

// The distribution function of the standard normal and its density. erf by Abramowitz and Stegun,
// Handbook of Mathematical Functions, 7.1.26: its error is below 1.5e-7.
void normal(Vector x, Vector& below, Vector& density) {
  Vector magnitude = (x < all(0.0f) ? -x : x) * all(0.70710678118654752f);
  Vector t = all(1.0f) / (all(1.0f) + all(0.3275911f) * magnitude);
  Vector p = all(1.061405429f);
  for (float coefficient : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    p = p * t + all(coefficient);
  Vector bell = exponential(-magnitude * magnitude);
  Vector tail = all(0.5f) * p * t * bell;
  below = x < all(0.0f) ? tail : all(1.0f) - tail;
  density = bell * all(0.39894228040143268f);
}

// f(z) and f'(z). Comparisons are written so that NaN stays NaN.
struct Activated {
  Vector value, slope;
};

Activated activate(int64_t activation, Vector z) {
  const Vector zero = all(0.0f), one = all(1.0f);
  switch (activation) {
    case RELU:
      return {z < zero ? zero : z, z > zero ? one : zero};
    case LEAKY_RELU:
      return {z < zero ? all(0.01f) * z : z, z > zero ? one : all(0.01f)};
    case TANH: {
      Vector e = exponential_minus_one(all(2.0f) * z);
      Vector value = e / (e + all(2.0f));
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

// --- dropout: random numbers by counting ------------------------------------------------------

// A bijection of 32 bits without visible pattern (lowbias32, C. Wellons).
template <typename Number>
Number mixed(Number x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

// The masks of one layer in one epoch: a function of the row's place in the epoch and the column,
// and of nothing else, so that any step of any run can be repeated. mlrun/models/dropout.py is the
// same in torch.
struct Dropout {
  uint64_t key;
  uint32_t dropped_below;
  float kept;  // 1 / (1 - p)

  Dropout(uint64_t key, double share)
      : key(key),
        dropped_below(static_cast<uint32_t>(std::min(std::round(share * 4294967296.0), 4294967295.0))),
        kept(static_cast<float>(1.0 / (1.0 - share))) {}

  uint32_t row_key(uint64_t row) const {
    uint32_t low = mixed(static_cast<uint32_t>(key) ^ static_cast<uint32_t>(row));
    return mixed(low + static_cast<uint32_t>(key >> 32) + static_cast<uint32_t>(row >> 32));
  }

  Vector mask(uint32_t row_key, size_t column) const {
    Bits columns = counted_from(static_cast<uint32_t>(column));
    Bits random = mixed(columns * 0x9e3779b9u + row_key);
    return random < all_bits(dropped_below) ? all(0.0f) : all(kept);
  }
};

// --- products ---------------------------------------------------------------------------------

using RowPointers = std::vector<const float*>;

// One tile of H W + b: ROWS rows and the 16 columns of a panel.
template <int ROWS>
void product_tile(const float* const* rows, size_t inner, const float* panel, const float* bias,
                  float* out, size_t stride) {
  Vector sums[ROWS][VECTORS];
  for (int v = 0; v < VECTORS; v++)
    for (int i = 0; i < ROWS; i++) sums[i][v] = bias ? load(bias + v * LANES) : all(0.0f);
  for (size_t k = 0; k < inner; k++) {
    Vector weights[VECTORS];
    for (int v = 0; v < VECTORS; v++) weights[v] = load(panel + k * PANEL + v * LANES);
#pragma GCC unroll 12
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < VECTORS; v++) sums[i][v] += all(rows[i][k]) * weights[v];
  }
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS; v++) store(out + i * stride + v * LANES, sums[i][v]);
}

// body(size, start, column) for every tile of `count` rows (or inputs) and every panel of `width`
// columns, `depth` multiply-adds each.
template <typename Body>
void each_tile(Team& team, size_t count, size_t width, size_t depth, const Body& body) {
  const size_t tiles = (count + TILE - 1) / TILE, panels = width / PANEL;
  team.share(tiles * panels, count * width * depth, [&](size_t from, size_t to) {
    for (size_t panel = from / tiles; panel * tiles < to; panel++) {
      const size_t first = panel * tiles < from ? from - panel * tiles : 0;
      const size_t last = std::min(tiles, to - panel * tiles);
      in_tiles(
          std::min(count, last * TILE),
          [&](auto size, size_t start) { body(size, start, panel * PANEL); }, first * TILE);
    }
  });
}

// out = rows x weights + bias, for `count` rows of `inner` numbers and `width` packed columns.
void product(Team& team, const float* const* rows, size_t count, size_t inner,
             const float* weights, const float* bias, size_t width, float* out) {
  each_tile(team, count, width, inner, [&](auto size, size_t start, size_t column) {
    product_tile<size>(rows + start, inner, weights + column * inner,
                       bias ? bias + column : nullptr, out + start * width + column, width);
  });
}

// One tile of H^T D: SIZE of the inputs, from `input` on, and the 16 columns of a panel.
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
      for (int v = 0; v < VECTORS; v++) sums[i][v] += all(inputs[i]) * deltas[v];
  }
  for (int i = 0; i < SIZE; i++)
    for (int v = 0; v < VECTORS; v++) store(out + i * PANEL + v * LANES, sums[i][v]);
}

// dW = rows^T x delta, packed as the weights are.
void weight_gradient(Team& team, const float* const* rows, size_t count, size_t inputs,
                     const float* delta, size_t width, float* out) {
  each_tile(team, inputs, width, count, [&](auto size, size_t start, size_t column) {
    gradient_tile<size>(rows, count, start, delta + column, width,
                        out + column * inputs + start * PANEL);
  });
}

void column_sums(const float* delta, size_t count, size_t width, float* out) {
  for (size_t column = 0; column < width; column += LANES) {
    Vector sum = all(0.0f);
    for (size_t r = 0; r < count; r++) sum += load(delta + r * width + column);
    store(out + column, sum);
  }
}

// --- the network ------------------------------------------------------------------------------

struct Layer {
  size_t inputs, outputs;
  size_t width;            // outputs and padding
  size_t weights, biases;  // where they begin among the packed parameters

  // Where the weight of input k and output j is packed.
  size_t place(size_t k, size_t j) const {
    return weights + j / PANEL * PANEL * inputs + k * PANEL + j % PANEL;
  }
};

struct Network {
  const Plan& plan;
  std::vector<Layer> layers;
  size_t parameters = 0;  // packed, padding included

  explicit Network(const Plan& plan) : plan(plan) {
    for (int64_t l = 0; l < plan.layers; l++) {
      size_t inputs = plan.sizes[l], outputs = plan.sizes[l + 1], width = padded(outputs);
      layers.push_back({inputs, outputs, width, parameters, parameters + inputs * width});
      parameters += (inputs + 1) * width;
    }
  }

  // body(place among the packed, place in the state) for every parameter; how many there are.
  template <typename Body>
  size_t each_parameter(const Body& body) const {
    size_t next = 0;
    for (const Layer& layer : layers) {
      for (size_t j = 0; j < layer.outputs; j++)
        for (size_t k = 0; k < layer.inputs; k++) body(layer.place(k, j), next++);
      for (size_t j = 0; j < layer.outputs; j++) body(layer.biases + j, next++);
    }
    return next;
  }

  // The parameters (part 0) or moments (1, 2) of a state; empty where it has none.
  std::vector<float> packed(const float* state, int64_t part) const {
    if (part > plan.moments) return {};
    std::vector<float> result(parameters, 0.0f);
    state += part * each_parameter([](size_t, size_t) {});
    each_parameter([&](size_t at, size_t i) { result[at] = state[i]; });
    return result;
  }

  // Writes a part of a state; where the next one begins.
  float* unpack(const std::vector<float>& source, float* state) const {
    if (source.empty()) return state;
    return state + each_parameter([&](size_t at, size_t i) { state[i] = source[at]; });
  }
};

// The numbers of one batch on their way through the network.
class Batch {
 public:
  Batch(const Network& network, size_t most_rows, bool training, Team& team)
      : network_(network), team_(team) {
    for (const Layer& layer : network.layers) {
      values_.emplace_back(most_rows * layer.width);
      slopes_.emplace_back(training ? most_rows * layer.width : 0);
      deltas_.emplace_back(training ? most_rows * layer.width : 0);
      transposed_.emplace_back(training ? layer.outputs * padded(layer.inputs) : 0);
    }
    inputs_.resize(most_rows);
    pointers_.resize(most_rows);
  }

  // The rows of the batch: those of `order`, or the next ones from `inputs` on.
  void choose(const float* inputs, const int64_t* order, size_t count) {
    count_ = count;
    size_t columns = network_.layers.front().inputs;
    for (size_t r = 0; r < count; r++) inputs_[r] = inputs + (order ? order[r] : r) * columns;
  }

  // H_1 … H_L; with `keys` also the slopes, and dropout.
  void forward(const float* parameters, const uint64_t* keys, uint64_t first_row) {
    for (size_t l = 0; l < network_.layers.size(); l++) {
      const Layer& layer = network_.layers[l];
      product(team_, rows_into(l), count_, layer.inputs, parameters + layer.weights,
              parameters + layer.biases, layer.width, values_[l].data());
      if (l + 1 < network_.layers.size()) apply_activation(l, keys, first_row);
    }
  }

  // The gradients of all parameters, from that of the outputs, which stands in output_delta().
  void backward(const float* parameters, float* gradients) {
    for (size_t l = network_.layers.size(); l-- > 0;) {
      const Layer& layer = network_.layers[l];
      const float* delta = deltas_[l].data();
      weight_gradient(team_, rows_into(l), count_, layer.inputs, delta, layer.width,
                      gradients + layer.weights);
      column_sums(delta, count_, layer.width, gradients + layer.biases);
      if (l > 0) hand_down(l, parameters);
    }
  }

  float* outputs(size_t row) { return values_.back().data() + row * network_.layers.back().width; }
  float* output_delta(size_t row) {
    return deltas_.back().data() + row * network_.layers.back().width;
  }

 private:
  const float* const* rows_of(const std::vector<float>& matrix, size_t width) {
    for (size_t r = 0; r < count_; r++) pointers_[r] = matrix.data() + r * width;
    return pointers_.data();
  }

  const float* const* rows_into(size_t l) {
    return l == 0 ? inputs_.data() : rows_of(values_[l - 1], network_.layers[l - 1].width);
  }

  void apply_activation(size_t l, const uint64_t* keys, uint64_t first_row);
  void hand_down(size_t l, const float* parameters);

  const Network& network_;
  Team& team_;
  size_t count_ = 0;
  std::vector<std::vector<float>> values_, slopes_, deltas_, transposed_;
  RowPointers inputs_, pointers_;
};


void Batch::apply_activation(size_t l, const uint64_t* keys, uint64_t first_row) {
  const Plan& plan = network_.plan;
  const size_t width = network_.layers[l].width;
  const bool drops = keys && plan.dropout > 0;
  const Dropout dropout(drops ? keys[l] : 0, plan.dropout);
  team_.share(count_, 16 * count_ * width, [&](size_t from, size_t to) {
    for (size_t r = from; r < to; r++) {
      const uint32_t row_key = drops ? dropout.row_key(first_row + r) : 0;
      for (size_t column = 0; column < width; column += LANES) {
        float* place = values_[l].data() + r * width + column;
        Activated f = activate(plan.activation, load(place));
        const Vector mask = drops ? dropout.mask(row_key, column) : all(1.0f);
        store(place, f.value * mask);
        if (keys) store(slopes_[l].data() + r * width + column, f.slope * mask);
      }
    }
  });
}

// D_(l-1) = (D_l W_l^T) * S_(l-1), with the weights packed anew the other way round.
void Batch::hand_down(size_t l, const float* parameters) {
  const Layer& layer = network_.layers[l];
  const size_t width = network_.layers[l - 1].width;
  float* transposed = transposed_[l].data();
  team_.share(layer.outputs, 16 * layer.inputs * layer.outputs, [&](size_t from, size_t to) {
    for (size_t j = from; j < to; j++)
      for (size_t k = 0; k < layer.inputs; k++)
        transposed[k / PANEL * PANEL * layer.outputs + j * PANEL + k % PANEL] =
            parameters[layer.place(k, j)];
  });
  product(team_, rows_of(deltas_[l], layer.width), count_, layer.outputs, transposed, nullptr,
          width, deltas_[l - 1].data());
  float* delta = deltas_[l - 1].data();
  const float* slope = slopes_[l - 1].data();
  team_.share(count_ * width, count_ * width, [&](size_t from, size_t to) {
    for (size_t i = from; i < to; i++) delta[i] *= slope[i];
  });
}

// --- losses: of one row, as torch defines them, with their gradient times `scale` -------------

// The loss and its derivative for one output that is off by `error`.
struct Penalised {
  float value, slope;
};

Penalised penalised(const Plan& plan, float error) {
  const float magnitude = std::fabs(error), sign = error > 0 ? 1.0f : error < 0 ? -1.0f : 0.0f;
  const float bound = static_cast<float>(plan.loss_setting);
  switch (plan.loss) {
    case MSE:
      return {error * error, 2 * error};
    case HUBER:
      if (magnitude <= bound) return {0.5f * error * error, error};
      return {bound * (magnitude - 0.5f * bound), bound * sign};
    case SMOOTH_L1:
      if (magnitude < bound) return {0.5f * error * error / bound, error / bound};
      return {magnitude - 0.5f * bound, sign};
    default:
      return {magnitude, sign};
  }
}

float regression(const Plan& plan, const float* outputs, const float* targets, size_t count,
                 float scale, float* delta) {
  float sum = 0;
  for (size_t j = 0; j < count; j++) {
    Penalised loss = penalised(plan, outputs[j] - targets[j]);
    sum += loss.value;
    delta[j] = loss.slope * scale / count;
  }
  return sum / count;
}

float cross_entropy(const Plan& plan, const float* logits, int64_t target, size_t classes,
                    float scale, float* delta) {
  const float smoothing = static_cast<float>(plan.loss_setting), share = smoothing / classes;
  float largest = logits[0], sum = 0, logits_sum = 0;
  for (size_t j = 1; j < classes; j++) largest = logits[j] > largest ? logits[j] : largest;
  for (size_t j = 0; j < classes; j++) {
    delta[j] = std::exp(logits[j] - largest);
    sum += delta[j];
    logits_sum += logits[j] - largest;
  }
  for (size_t j = 0; j < classes; j++) delta[j] = (delta[j] / sum - share) * scale;
  delta[target] -= (1 - smoothing) * scale;
  const float log_sum = std::log(sum);
  return (1 - smoothing) * (log_sum - (logits[target] - largest)) + smoothing * log_sum -
         share * logits_sum;
}

float bce_with_logits(const float* logits, const float* targets, size_t count, float scale,
                      float* delta) {
  float sum = 0;
  for (size_t j = 0; j < count; j++) {
    const float z = logits[j], bounded = std::exp(-std::fabs(z));  // never overflows
    sum += (z < 0 ? 0.0f : z) - z * targets[j] + std::log1p(bounded);
    const float probability = (z < 0 ? bounded : 1.0f) / (1 + bounded);
    delta[j] = (probability - targets[j]) * scale / count;
  }
  return sum / count;
}

// The sum of the losses of a batch's rows; the gradient of their mean goes to the batch.
double batch_loss(const Plan& plan, Batch& batch, const void* targets, const int64_t* order,
                  size_t count) {
  const size_t outputs = plan.sizes[plan.layers];
  const float scale = 1.0f / count;
  double sum = 0;
  for (size_t r = 0; r < count; r++) {
    const float* z = batch.outputs(r);
    float* delta = batch.output_delta(r);
    const float* row = static_cast<const float*>(targets) + order[r] * outputs;
    if (plan.loss == CROSS_ENTROPY)
      sum += cross_entropy(plan, z, static_cast<const int64_t*>(targets)[order[r]], outputs, scale,
                           delta);
    else if (plan.loss == BCE_WITH_LOGITS)
      sum += bce_with_logits(z, row, outputs, scale, delta);
    else
      sum += regression(plan, z, row, outputs, scale, delta);
  }
  return sum;
}

// --- what becomes of the gradients ------------------------------------------------------------

using Numbers = std::vector<float>;

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

void clip_values(const Plan& plan, Numbers& gradients, size_t from, size_t to) {
  if (plan.clip_value == 0) return;
  const float most = static_cast<float>(plan.clip_value);
  for (size_t i = from; i < to; i++)
    gradients[i] = gradients[i] > most ? most : gradients[i] < -most ? -most : gradients[i];
}

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

void clip_norm(const Plan& plan, double norm, Numbers& gradients, size_t from, size_t to) {
  if (plan.clip_norm == 0) return;
  const float factor = static_cast<float>(std::min(1.0, plan.clip_norm / (norm + 1e-6)));
  for (size_t i = from; i < to; i++) gradients[i] *= factor;
}

// --- optimizers: torch's formulas, one pass over all parameters -------------------------------

struct State {
  float *__restrict__ p, *__restrict__ first, *__restrict__ second;
  const float* __restrict__ gradients;
  size_t count;
};

void sgd(const Plan& plan, const State& s, float rate, float momentum) {
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

void adam(const Plan& plan, const State& s, double rate, double beta1, int64_t step) {
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

void rmsprop(const Plan& plan, const State& s, float rate, float momentum) {
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

void adagrad(const Plan& plan, const State& s, double rate, int64_t step) {
  const float decay = static_cast<float>(plan.weight_decay);
  const float epsilon = static_cast<float>(plan.epsilon);
  const float size = static_cast<float>(rate / (1 + (step - 1) * plan.rate_decay));
  for (size_t i = 0; i < s.count; i++) {
    const float g = s.gradients[i] + decay * s.p[i];
    s.first[i] += g * g;
    s.p[i] -= size * g / (std::sqrt(s.first[i]) + epsilon);
  }
}

void update(const Plan& plan, const State& state, double rate, double momentum, int64_t step) {
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

// --- the calls --------------------------------------------------------------------------------

// The outputs of consecutive rows, so many at a time as the batch has room for.
void outputs_of(const Network& network, const Numbers& parameters, const float* inputs,
                int64_t rows, Batch& batch, float* outputs) {
  const size_t columns = network.layers.front().inputs, width = network.layers.back().outputs;
  for (int64_t done = 0; done < rows; done += ROWS_AT_ONCE) {
    const size_t count = std::min(ROWS_AT_ONCE, rows - done);
    batch.choose(inputs + done * columns, nullptr, count);
    batch.forward(parameters.data(), nullptr, 0);
    for (size_t r = 0; r < count; r++)
      std::memcpy(outputs + (done + r) * width, batch.outputs(r), width * sizeof(float));
  }
}

void forward(Forward& job, Team& team) {
  const Network network(*job.plan);
  Batch batch(network, std::min(job.rows, ROWS_AT_ONCE), false, team);
  outputs_of(network, network.packed(job.state, 0), job.inputs, job.rows, batch, job.outputs);
}

int64_t most_rows(const Training& job) {
  int64_t most = 1;
  for (int64_t e = 0; e < job.count; e++)
    for (int64_t s = 0; s < job.epochs[e].steps; s++) most = std::max(most, job.epochs[e].counts[s]);
  return most;
}

// A network in training: everything packed.
class Trainee {
 public:
  Trainee(const Training& job, Team& team)
      : job_(job),
        team_(team),
        network_(*job.plan),
        parameters_(network_.packed(job.state, 0)),
        gradients_(network_.parameters),
        first_(network_.packed(job.state, 1)),
        second_(network_.packed(job.state, 2)),
        squares_((network_.parameters + CHUNK - 1) / CHUNK),
        batch_(network_, most_rows(job), true, team),
        scored_(network_, std::min(job.valid_rows, ROWS_AT_ONCE), false, team) {}

  void train(Epoch& epoch) {
    const int64_t* order = epoch.order;
    for (epoch.loss = 0, epoch.done = 0; epoch.done < epoch.steps; epoch.done++) {
      const int64_t count = epoch.counts[epoch.done];
      if (!step(epoch, order, count)) return;
      order += count;
    }
  }

  void hand_over(const Epoch& epoch) {
    float* moments = network_.unpack(parameters_, epoch.state);
    network_.unpack(second_, network_.unpack(first_, moments));
    if (epoch.outputs)
      outputs_of(network_, parameters_, job_.valid_inputs, job_.valid_rows, scored_, epoch.outputs);
  }

 private:
  // Whether loss and gradients were finite; else nothing changed.
  bool step(Epoch& epoch, const int64_t* order, int64_t count) {
    const Plan& plan = network_.plan;
    batch_.choose(job_.inputs, order, count);
    batch_.forward(parameters_.data(), epoch.keys, epoch.rows_before + (order - epoch.order));
    const double loss = batch_loss(plan, batch_, job_.targets, order, count);
    batch_.backward(parameters_.data(), gradients_.data());
    epoch.step_norm = finish_gradients();
    epoch.step_loss = loss / count;
    if (!std::isfinite(epoch.step_loss + epoch.step_norm)) return false;
    each_chunk([&](size_t from, size_t to) {
      clip_norm(plan, epoch.step_norm, gradients_, from, to);
      update(plan, part(from, to), epoch.rates[epoch.done], epoch.momenta[epoch.done],
             epoch.steps_before + epoch.done + 1);
    });
    epoch.loss += loss;
    return true;
  }

  // Penalties and clipping; the norm.
  double finish_gradients() {
    each_chunk([&](size_t from, size_t to) {
      add_penalties(network_, parameters_, gradients_, from, to);
      clip_values(network_.plan, gradients_, from, to);
      for (size_t start = from; start < to; start += CHUNK)
        squares_[start / CHUNK] = squares(gradients_, start, std::min(start + CHUNK, to));
    });
    double sum = 0;
    for (double some : squares_) sum += some;
    return std::sqrt(sum);
  }

  // body(from, to) for all parameters; every part begins with a chunk.
  template <typename Body>
  void each_chunk(const Body& body) {
    const size_t count = network_.parameters;
    team_.share(squares_.size(), 4 * count, [&](size_t from, size_t to) {
      body(from * CHUNK, std::min(to * CHUNK, count));
    });
  }

  State part(size_t from, size_t to) {
    return {parameters_.data() + from, first_.empty() ? nullptr : first_.data() + from,
            second_.empty() ? nullptr : second_.data() + from, gradients_.data() + from, to - from};
  }

  const Training& job_;
  Team& team_;
  const Network network_;
  Numbers parameters_, gradients_, first_, second_;
  std::vector<double> squares_;  // of the gradients, summed chunk by chunk
  Batch batch_, scored_;
};

void train(Training& job, Team& team) {
  Trainee trainee(job, team);
  for (int64_t e = 0; e < job.count; e++) {
    trainee.train(job.epochs[e]);
    trainee.hand_over(job.epochs[e]);
    if (job.epochs[e].done < job.epochs[e].steps) return;
  }
}

enum Status { QUEUED, UNDER_WAY, DONE, NO_MEMORY };

// Threads, and the jobs that they do, first come first served.
template <typename Job>
class Crew {
 public:
  Crew(int64_t threads, void (*body)(Job&, Team&)) : body_(body) {
    try {
      for (int64_t i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
    } catch (const std::exception&) {
      // No more threads to be had: whoever waits for a job does it.
    }
  }

  // What is under way is finished, what is queued is not begun.
  ~Crew() {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      over_ = busy_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void add(Job& job) {
    {
      const std::lock_guard<std::mutex> guard(mutex_);
      job.status = QUEUED;
      queue_.push_back(&job);
      busy_ = true;
    }
    changed_.notify_all();
  }

  // Do the job, or something else until it is done; whether there was memory enough.
  bool wait(Job& job) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto place = std::find(queue_.begin(), queue_.end(), &job);
    if (place != queue_.end()) std::rotate(queue_.begin(), place, place + 1);
    while (job.status < DONE) lend_a_hand(lock);
    return job.status == DONE;
  }

 private:
  struct Running {
    Job* job;
    Team* team;
  };

  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!over_) lend_a_hand(lock);
  }

  // Do the next job, or help with one, or wait until there is something to do.
  void lend_a_hand(std::unique_lock<std::mutex>& lock) {
    busy_ = !queue_.empty();
    if (busy_) {
      Job& job = *queue_.front();
      queue_.pop_front();
      carry_out(job, lock);
    } else if (!help(lock)) {
      changed_.wait(lock);
    }
  }

  void carry_out(Job& job, std::unique_lock<std::mutex>& lock) {
    Team team(job.threads);
    job.status = UNDER_WAY;
    int64_t status = DONE;
    try {
      running_.push_back({&job, &team});
      if (job.threads > 1) changed_.notify_all();
      lock.unlock();
      body_(job, team);
    } catch (const std::bad_alloc&) {
      status = NO_MEMORY;
    }
    if (!lock.owns_lock()) lock.lock();
    running_.erase(std::remove_if(running_.begin(), running_.end(),
                                  [&](const Running& other) { return other.job == &job; }),
                   running_.end());
    lock.unlock();
    team.dismiss();
    lock.lock();
    job.status = status;
    changed_.notify_all();
  }

  // Whether somebody wanted help and got it.
  bool help(std::unique_lock<std::mutex>& lock) {
    for (const Running& running : running_) {
      Team& team = *running.team;
      if (!team.welcome()) continue;
      lock.unlock();
      team.help(busy_);
      lock.lock();
      return true;
    }
    return false;
  }

  void (*body_)(Job&, Team&);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job*> queue_;
  std::vector<Running> running_;
  bool over_ = false;
  std::atomic<bool> busy_{false};  // there are jobs in the queue
  std::vector<std::thread> threads_;
};

}  // namespace

extern "C" {

// A crew of so many threads beside those that wait. Null if memory ran out.
void* mlrun_hire(int64_t threads) {
  try {
    return new Crew<Training>(threads, train);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// The job must stay where it is until it is waited for, or the crew is dismissed. 1 if memory ran
// out, like below.
int32_t mlrun_add(void* crew, Training* job) {
  try {
    static_cast<Crew<Training>*>(crew)->add(*job);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

int32_t mlrun_wait(void* crew, Training* job) {
  return !static_cast<Crew<Training>*>(crew)->wait(*job);
}

// What is under way is finished first.
void mlrun_dismiss(void* crew) { delete static_cast<Crew<Training>*>(crew); }

int32_t mlrun_forward(Forward* job) {
  try {
    Crew<Forward> crew(job->threads - 1, forward);
    crew.add(*job);
    return !crew.wait(*job);
  } catch (const std::bad_alloc&) {
    return 1;
  }
}
}
