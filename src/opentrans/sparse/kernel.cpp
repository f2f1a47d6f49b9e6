// Convolution with few weights: y[o] = act(bias[o] + sum of w * x[shifted] over the weights of o, + residual[o]).
// Stride 1. A tile of N segments (16 neighbouring pixels of a row each) stays in registers while the weights of one
// output channel stream by; the inputs of a tile stay in the first cache levels over all output channels.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int LANES = 16;
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

struct Weight {
    int32_t offset;  // of the value that it multiplies, from a segment's first one
    float value;
};

struct Layer {
    const float* input;
    const Weight* weights;
    const int64_t* first;  // of each output channel; one more entry ends the last
    const float* bias;
    const float* residual;  // in the output's layout, or null
    float* output;
    int64_t plane;  // values of one output channel
    int32_t channels;
    int32_t relu;
};

template <int N>
void run_tile(const Layer& layer, const int64_t* in, const int64_t* out, const int32_t* widths) {
    const float* x[N];
    for (int j = 0; j < N; ++j) x[j] = layer.input + in[j];
    for (int32_t c = 0; c < layer.channels; ++c) {
        Lanes sum[N];
        for (int j = 0; j < N; ++j) sum[j] = Lanes{} + layer.bias[c];
        const Weight* end = layer.weights + layer.first[c + 1];
        for (const Weight* w = layer.weights + layer.first[c]; w != end; ++w) {
            const Lanes value = Lanes{} + w->value;
            const int64_t offset = w->offset;
#pragma GCC unroll 8
            for (int j = 0; j < N; ++j) sum[j] += value * *reinterpret_cast<const Lanes*>(x[j] + offset);
        }
        for (int j = 0; j < N; ++j) {
            const int64_t place = c * layer.plane + out[j];
            Lanes value = sum[j];
            if (widths[j] == LANES) {
                if (layer.residual) value += *reinterpret_cast<const Lanes*>(layer.residual + place);
                if (layer.relu) value = value > 0 ? value : Lanes{};
                *reinterpret_cast<Lanes*>(layer.output + place) = value;
                continue;
            }
            for (int k = 0; k < widths[j]; ++k) {
                float single = value[k] + (layer.residual ? layer.residual[place + k] : 0);
                layer.output[place + k] = layer.relu && !(single > 0) ? 0 : single;
            }
        }
    }
}

template <int N>
void run_tiles(const Layer& layer, int64_t segments, const int64_t* in, const int64_t* out, const int32_t* widths,
               std::atomic<int64_t>& next) {
    for (int64_t start = next.fetch_add(N); start < segments; start = next.fetch_add(N)) {
        if (start + N <= segments) {
            run_tile<N>(layer, in + start, out + start, widths + start);
        } else {
            for (int64_t j = start; j < segments; ++j) run_tile<1>(layer, in + j, out + j, widths + j);
        }
    }
}

}  // namespace

extern "C" void opentrans_sparse_conv(const float* input, const void* weights, const int64_t* first, const float* bias,
                                      const float* residual, float* output, int64_t plane, int32_t channels,
                                      int32_t relu, int64_t segments, const int64_t* in, const int64_t* out,
                                      const int32_t* widths, int32_t tile, int32_t threads) {
    const Layer layer{input,  static_cast<const Weight*>(weights), first, bias, residual, output, plane, channels, relu};
    std::atomic<int64_t> next{0};
    auto work = [&] {
        if (tile >= 8) run_tiles<8>(layer, segments, in, out, widths, next);
        else if (tile >= 4) run_tiles<4>(layer, segments, in, out, widths, next);
        else run_tiles<2>(layer, segments, in, out, widths, next);
    };
    std::vector<std::thread> helpers;
    for (int32_t i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
    for (auto& helper : helpers) helper.join();
}
