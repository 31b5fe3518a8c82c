"use strict";
// The models, computed in the page. A layer takes and gives {data, shape}: numbers in a typed array,
// and [channels, height, width] or [features]. Each does what the PyTorch layer of its name does.

/** Packed text -> bytes: base64, then deflate. */
async function inflate(text) {
  const binary = atob(text.trim());
  const packed = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) packed[i] = binary.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The value of a half-precision number: 1 bit of sign, 5 of exponent, 10 of fraction. */
function halfValue(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
}
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => halfValue(bits));

/** All low bytes, then all high bytes -> the numbers. */
function unpackHalves(bytes) {
  const count = bytes.length / 2, numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) numbers[i] = HALVES[bytes[i] | (bytes[count + i] << 8)];
  return numbers;
}

/** The layers with their weights as views into the unpacked numbers. */
function withWeights(layers, numbers) {
  const view = ({ offset, shape }) => numbers.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
  return layers.map((layer) =>
    layer.weight ? { ...layer, weight: view(layer.weight), bias: view(layer.bias) } : layer);
}

/** Zeros around each channel, so that filters need not ask where the image ends. */
function pad({ data, shape: [channels, height, width] }, [rows, columns]) {
  const h = height + 2 * rows, w = width + 2 * columns, padded = new Float32Array(channels * h * w);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++) {
      const from = (c * height + y) * width;
      padded.set(data.subarray(from, from + width), (c * h + y + rows) * w + columns);
    }
  return { data: padded, shape: [channels, h, w] };
}

function outputSize([, height, width], [kh, kw], [sy, sx]) {
  return [Math.floor((height - kh) / sy) + 1, Math.floor((width - kw) / sx) + 1];
}

const LAYERS = {
  linear({ data }, { weight, bias }) {
    const output = Float32Array.from(bias), inputs = data.length;
    for (let o = 0, at = 0; o < output.length; o++) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += weight[at++] * data[i];
      output[o] += sum;
    }
    return { data: output, shape: [output.length] };
  },

  conv(input, { weight, bias, kernel, stride, padding }) {
    const x = pad(input, padding), [channels, height, width] = x.shape, [kh, kw] = kernel, [sy, sx] = stride;
    const [h, w] = outputSize(x.shape, kernel, stride), output = new Float32Array(bias.length * h * w);
    for (let o = 0, at = 0; o < bias.length; o++) {
      output.fill(bias[o], o * h * w, (o + 1) * h * w);
      for (let c = 0; c < channels; c++)
        for (let dy = 0; dy < kh; dy++)
          for (let dx = 0; dx < kw; dx++) {
            const factor = weight[at++]; // one number of the filter, laid over the whole image
            for (let y = 0; y < h; y++) {
              const to = (o * h + y) * w, from = (c * height + y * sy + dy) * width + dx;
              for (let i = 0; i < w; i++) output[to + i] += factor * x.data[from + i * sx];
            }
          }
    }
    return { data: output, shape: [bias.length, h, w] };
  },

  // 3x3 filters of its own at each position; weight: [position, tap, channel, output], bias: [position, output].
  local(input, { weight, bias }) {
    const x = pad(input, [1, 1]), [channels, height, width] = x.shape, [, h, w] = input.shape;
    const outputs = bias.length / (h * w), output = new Float32Array(bias.length);
    for (let p = 0, at = 0; p < h * w; p++) {
      const top = Math.floor(p / w), left = p % w, sums = bias.slice(p * outputs, (p + 1) * outputs);
      for (let tap = 0; tap < 9; tap++) {
        const place = (top + Math.floor(tap / 3)) * width + left + (tap % 3);
        for (let c = 0; c < channels; c++) {
          const value = x.data[c * height * width + place];
          for (let o = 0; o < outputs; o++) sums[o] += value * weight[at++];
        }
      }
      for (let o = 0; o < outputs; o++) output[o * h * w + p] = sums[o];
    }
    return { data: output, shape: [outputs, h, w] };
  },

  relu: ({ data, shape }) => ({ data: data.map((value) => Math.max(value, 0)), shape }),
  maxpool: (input, layer) => pool(input, layer, -Infinity, Math.max, 1),
  avgpool: (input, layer) => pool(input, layer, 0, (a, b) => a + b, layer.kernel[0] * layer.kernel[1]),
  flatten: ({ data }) => ({ data, shape: [data.length] }),
};

function pool({ data, shape }, { kernel, stride }, start, combine, divisor) {
  const [channels, height, width] = shape, [h, w] = outputSize(shape, kernel, stride);
  const output = new Float32Array(channels * h * w);
  for (let c = 0, at = 0; c < channels; c++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++) {
        let value = start;
        for (let dy = 0; dy < kernel[0]; dy++)
          for (let dx = 0; dx < kernel[1]; dx++)
            value = combine(value, data[(c * height + y * stride[0] + dy) * width + x * stride[1] + dx]);
        output[at++] = value / divisor;
      }
  return { data: output, shape: [channels, h, w] };
}

function softmax(logits) {
  const largest = Math.max(...logits), powers = Array.from(logits, (value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** Class probabilities for one image; `pixels` are [channel, row, column] in 0..1, not yet normalised. */
function forward(layers, pixels, shape, mean, std) {
  const area = shape[1] * shape[2], normalised = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    const channel = Math.floor(i / area);
    normalised[i] = (pixels[i] - mean[channel]) / std[channel];
  }
  let x = { data: normalised, shape };
  for (const layer of layers) x = LAYERS[layer.kind](x, layer);
  return softmax(x.data);
}
