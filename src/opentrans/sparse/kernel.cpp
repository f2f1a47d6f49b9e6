// Convolution with few weights: y[o] = act(bias[o] + sum of w * x[shifted] over the weights of o, + residual[o]).
// Stride 1. A tile is N segments (16 neighbouring pixels of a row each). What a tile reads is packed first: a row for
// each input channel and tap, one block of rows after the other, so that it lies aligned in the first cache level
// however the maps are laid out. The sums of an output channel stay in registers while its weights of a block stream by.
// A pooled layer reads the means of 2 x 2 pixels.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 16;
constexpr uintptr_t LINE = 64;  // bytes
typedef float Lanes __attribute__((vector_size(4 * LANES), may_alias));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

struct Weight {
    int32_t row;  // of the values that it multiplies, within its block
    float value;
};

struct Layer {
    const float* input;
    const int64_t* rows;  // where each row begins in the input, from a segment's first pixel
    int32_t row_count;
    int32_t block;          // rows
    const Weight* weights;  // by block, then by output channel
    const int64_t* first;   // of each block and output channel; one more entry ends the last
    const float* bias;
    const float* residual;  // in the output's layout, or null
    float* output;
    int64_t plane;  // values of one output channel
    int32_t channels;
    int32_t relu;
    int64_t below;  // where pixels are pooled: from one to the one below it; else 0
};

Lanes load(const float* from) { return *reinterpret_cast<const Loose*>(from); }

// Every second value of the two, from the first (`odd` 0) or the second.
template <int odd>
Lanes pick(Lanes left, Lanes right) {
#ifdef __clang__
    return __builtin_shufflevector(left, right, odd, odd + 2, odd + 4, odd + 6, odd + 8, odd + 10, odd + 12, odd + 14,
                                   odd + 16, odd + 18, odd + 20, odd + 22, odd + 24, odd + 26, odd + 28, odd + 30);
#else
    typedef int32_t Places __attribute__((vector_size(4 * LANES)));
    return __builtin_shuffle(left, right, Places{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30} + odd);
#endif
}

Lanes load_pooled(const float* from, int64_t below) {
    const Lanes left = load(from) + load(from + below), right = load(from + LANES) + load(from + below + LANES);
    return (pick<0>(left, right) + pick<1>(left, right)) * 0.25f;
}

void write(const Layer& layer, Lanes value, int64_t place, int32_t width) {
    if (width == LANES) {
        if (layer.residual) value += load(layer.residual + place);
        if (layer.relu) value = value > 0 ? value : Lanes{};
        *reinterpret_cast<Loose*>(layer.output + place) = value;
        return;
    }
    for (int k = 0; k < width; ++k) {
        float single = value[k] + (layer.residual ? layer.residual[place + k] : 0);
        layer.output[place + k] = layer.relu && !(single > 0) ? 0 : single;
    }
}

template <int N>
void run_tile(const Layer& layer, const int64_t* in, const int64_t* out, const int32_t* widths, Lanes* packed,
              Lanes* partial) {
    const int64_t* first = layer.first;
    int32_t begin = 0;
    do {  // once where no weight remains: the biases are written
        const int32_t count = std::min(layer.block, layer.row_count - begin);
        const bool last = begin + count == layer.row_count;
        for (int32_t r = 0; r < count; ++r) {
            const float* from = layer.input + layer.rows[begin + r];
            for (int j = 0; j < N; ++j) {
                packed[r * N + j] = layer.below ? load_pooled(from + in[j], layer.below) : load(from + in[j]);
            }
        }
        for (int32_t c = 0; c < layer.channels; ++c) {
            Lanes sum[N];
            for (int j = 0; j < N; ++j) sum[j] = begin ? partial[c * N + j] : Lanes{} + layer.bias[c];
            const Weight* end = layer.weights + first[c + 1];
            for (const Weight* w = layer.weights + first[c]; w != end; ++w) {
                const Lanes value = Lanes{} + w->value;
                const Lanes* x = packed + static_cast<int64_t>(w->row) * N;
#pragma GCC unroll 8
                for (int j = 0; j < N; ++j) sum[j] += value * x[j];
            }
            for (int j = 0; j < N; ++j) {
                if (last) write(layer, sum[j], c * layer.plane + out[j], widths[j]);
                else partial[c * N + j] = sum[j];
            }
        }
        begin += layer.block, first += layer.channels;
    } while (begin < layer.row_count);
}

template <int N>
void run_tiles(const Layer& layer, int64_t segments, const int64_t* in, const int64_t* out, const int32_t* widths,
               std::atomic<int64_t>& next, Lanes* packed) {
    Lanes* const partial = packed + static_cast<int64_t>(layer.block) * N;
    for (int64_t start = next.fetch_add(N); start < segments; start = next.fetch_add(N)) {
        if (start + N <= segments) {
            run_tile<N>(layer, in + start, out + start, widths + start, packed, partial);
        } else {
            for (int64_t j = start; j < segments; ++j) {
                run_tile<1>(layer, in + j, out + j, widths + j, packed, partial);
            }
        }
    }
}

}  // namespace

extern "C" void opentrans_sparse_conv(const float* input, const int64_t* rows, int32_t row_count, int32_t block,
                                      const void* weights, const int64_t* first, const float* bias,
                                      const float* residual, float* output, int64_t plane, int32_t channels,
                                      int32_t relu, int64_t below, int64_t segments, const int64_t* in,
                                      const int64_t* out, const int32_t* widths, int32_t tile, int32_t threads,
                                      float* scratch) {
    const Layer layer{input, rows,     row_count, block, static_cast<const Weight*>(weights), first,
                      bias,  residual, output,    plane, channels,                            relu, below};
    std::atomic<int64_t> next{0};
    Lanes* const aligned = reinterpret_cast<Lanes*>((reinterpret_cast<uintptr_t>(scratch) + LINE - 1) / LINE * LINE);
    auto work = [&](int32_t number) {
        Lanes* const own = aligned + number * static_cast<int64_t>(block + channels) * tile;
        if (tile >= 8) run_tiles<8>(layer, segments, in, out, widths, next, own);
        else if (tile >= 4) run_tiles<4>(layer, segments, in, out, widths, next, own);
        else run_tiles<2>(layer, segments, in, out, widths, next, own);
    };
    std::vector<std::thread> helpers;
    for (int32_t i = 1; i < threads; ++i) helpers.emplace_back(work, i);
    work(0);
    for (auto& helper : helpers) helper.join();
}
