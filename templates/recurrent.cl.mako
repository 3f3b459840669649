## The steps of a recurrent layer (LSTM, GRU, tanh, relu), forward or backward, for one or two directions.
##
## Rows of a batch never meet inside a layer: a work-group takes `block_rows` rows (and `block_units` vectors of units)
## of one direction through steps s_begin .. s_end - 1. Where a group has all units, it walks all steps in one launch and nothing
## waits for anything else; where units are shared among groups, each step is a launch of its own.
##
## A step is: sums = state x weights, in register tiles of R rows x NV vectors (the weights stream from the second-level cache, in
## the panels that recurrent_pack made), then the gates' arithmetic per row and vector of units, which writes the next state.
## States alternate between two halves of scratch. Forward, the state is h and a vector of units has its gates side by side in
## the sums; backward, it is the slopes of the gates before activation, and the sums are what h of the step before receives.
##
## Sorted batches of unequal lengths ("packed"): step t has offsets[t + 1] - offsets[t] rows. A row that begins later
## finds its initial state untouched; one that ends gives its last state away at once.
##
## Work-items: one per group on CPUs; on GPUs the items of a group share tiles and units between barriers.
## Memory traffic per step and group: the weights once, projections, gates and results once.
## Source: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; Cho et al., Learning Phrase Representations, 2014.
<%
    rows, vectors = range(R), range(NV)
%>\
<%def name="pick(name, const='')">\
% if D == 2:
  ${const}__global ${E} *${name} = direction ? ${name}1 : ${name}0;
% else:
  ${const}__global ${E} *${name} = ${name}0;
% endif
</%def>\
__kernel __attribute__((reqd_work_group_size(${items}, 1, 1)${"" if items > 1 else ", vec_type_hint(%s)" % V}))
void KERNEL(${parameters}) {
% if items > 1:
  const I item = get_local_id(0);
% endif
  const I direction = get_group_id(2);
  const I row_begin = get_group_id(1) * block_rows;
  const I row_stop = row_begin + block_rows < B ? row_begin + block_rows : B;
  const I j_begin = get_group_id(0) * block_units;
  const I j_end = j_begin + block_units < units ? j_begin + block_units : units;
${setup}
% if stage == "forward":
${pick("X", "const ")}\
% if biased:
${pick("bias", "const ")}\
% endif
% endif
  // this direction's and these rows' part of everything that is kept per row
  const I line = direction * rows_padded + row_begin;
  const __global ${E} *panels = packed + direction * packed_size;
  __global ${E} *state_a = states + line * pitch, *state_b = state_a + state_half;
  __global ${E} *sums = all_sums + line * sum_pitch;
  __global ${E} *carry = carries + line * H;
% if kind == "lstm" and stage == "backward":
  __global ${E} *cell_slope = carry + carry_half;
% endif
  const I boundary = (direction * B + row_begin) * H;
  const I inner = direction * places;
  if (starts) {
${begin()}\
  }
  for (I step = s_begin; step < s_end; ++step) {
    __global ${E} *now = step & 1 ? state_b : state_a, *next_state = step & 1 ? state_a : state_b;
    const I back = ${"!direction" if stage == "backward" else "direction"};
    const I t = back ? T - 1 - step : step;
    const I t_after = back ? t - 1 : t + 1, t_before = back ? t + 1 : t - 1;
% if packed_batch:
    const I base = step < T ? offsets[offsets_at + t] : 0;
    const I here = step < T ? offsets[offsets_at + t + 1] - base : 0;
    const I after = step + 1 < T ? offsets[offsets_at + t_after + 1] - offsets[offsets_at + t_after] : 0;
    const I before = step > 0 ? offsets[offsets_at + t_before + 1] - offsets[offsets_at + t_before] : 0;
% else:
    const I base = t * step_t, here = step < T ? B : 0, after = step + 1 < T ? B : 0, before = step > 0 ? B : 0;
% endif
    const I step_b = ${"1" if packed_batch else "place_b"};
% if stage == "forward":
    const I alive = here, depth = ${"K" if given else "step == 0 ? 0 : K"};
% else:
    const I alive = here > before ? here : before, depth = step == 0 ? 0 : K;
% endif
    const I count = (alive < row_stop ? alive : row_stop) - row_begin;
    if (count > 0) {
      const I row_tiles = (count + ${R - 1}) / ${R}, first_panel = j_begin * ${GV} / ${NV};
      const I tiles = ((j_end * ${GV} + ${NV - 1}) / ${NV} - first_panel) * row_tiles;
% if items > 1:
      for (I tile = item; tile < tiles; tile += ${items}) {
% else:
      for (I tile = 0; tile < tiles; ++tile) {
% endif
        const I panel = first_panel + tile / row_tiles, r0 = tile % row_tiles * ${R};
        const __global ${E} *a = now + r0 * pitch, *b = panels + panel * panel_step;
% for r in rows:
        ${V} ${", ".join("c%d_%d = (%s)(0)" % (r, v, V) for v in vectors)};
% endfor
        for (I k = 0; k < depth; ++k) {
% for v in vectors:
          const ${V} b${v} = ${load(W, "b + %d" % (v * W))};
% endfor
          b += k_step;
% for r in rows:
          {
            const ${V} x = (${V})(a[${r} * pitch + k]);
% for v in vectors:
            c${r}_${v} = x * b${v} + c${r}_${v};
% endfor
          }
% endfor
        }
        __global ${E} *to = sums + r0 * sum_pitch + panel * ${NV * W};
% for r in rows:
% for v in vectors:
        ${store(W, "c%d_%d" % (r, v), "to + %d * sum_pitch + %d" % (r, v * W))}
% endfor
% endfor
      }
    }
% if items > 1:
    barrier(CLK_GLOBAL_MEM_FENCE);
% endif
% if stage == "backward":
    // rows whose first step is behind them give their initial state's slopes away
    const I leaving_end = before < row_stop ? before : row_stop;
    const I leaving = here > row_begin ? here : row_begin;
${walk("leaving", "leaving_end", leave)}\
% endif
    const I row_end = here < row_stop ? here : row_stop;
${walk("row_begin", "row_end", cell)}\
% if items > 1:
    barrier(CLK_GLOBAL_MEM_FENCE);
% endif
  }
}
<%def name="walk(start, stop, body)">\
% if items > 1:
    if (${stop} > ${start}) {
      const I across = j_end - j_begin, all = (${stop} - ${start}) * across;
      for (I at = item; at < all; at += ${items}) {
        const I row = ${start} + at / across, u = j_begin + at % across, r = row - row_begin;
        {
${body(1)}\
        }
      }
    }
% else:
    for (I row = ${start}; row < ${stop}; ++row) {
      const I r = row - row_begin;
      I u = j_begin * ${W};
      const I u_end = j_end * ${W} < H ? j_end * ${W} : H;
      for (; u + ${W} <= u_end; u += ${W}) {
${body(W)}\
      }
      for (; u < u_end; ++u) {
${body(1)}\
      }
    }
% endif
</%def>
<%def name="begin()">\
    for (I r = 0; r < row_stop - row_begin; ++r) {
      for (I u = ${"item" if items > 1 else "0"}; u < H; u += ${items}) {
% if stage == "forward":
        state_a[r * pitch + u] = state_b[r * pitch + u] = ${"h0[h0_at + boundary + r * H + u]" if given else "0"};
% if kind == "lstm":
        carry[r * H + u] = ${"c0[c0_at + boundary + r * H + u]" if given else "0"};
% endif
% else:
        carry[r * H + u] = dh_last[dh_last_at + boundary + r * H + u];
% if kind == "lstm":
        cell_slope[r * H + u] = dc_last[dc_last_at + boundary + r * H + u];
% endif
% endif
      }
% if stage == "backward" and packed_batch:
      for (I k = ${"item" if items > 1 else "0"}; k < K; k += ${items}) state_a[r * pitch + k] = state_b[r * pitch + k] = 0;
% endif
    }
% if items > 1:
    barrier(CLK_GLOBAL_MEM_FENCE);
% endif
</%def>
<%def name="leave(w)">
        const I place_h = boundary + r * H + u;
        ${store(w, sum_of(w, 0) + " + " + load(w, "carry + r * H + u"), "dh_first + place_h")}
% if kind == "lstm":
        ${store(w, load(w, "cell_slope + r * H + u"), "dc_first + place_h")}
% endif
</%def>
<%def name="cell(w)">
<%
    F = E if w == 1 else "%s%d" % (E, w)

    def gate(g):
        text = "%s + %s" % (load(w, "x + %d * H" % g), sum_of(w, g))
        return text + (" + " + load(w, "bias + bias_at + %d * H + u" % g) if biased else "")

    def keep(g, value):
        return store(w, value, "kept + %d * H" % g)
%>\
        const I place = base + row * step_b, here_h = (inner + place) * H + u;
% if stage == "forward":
        const __global ${E} *x = X + x_at + place * ${G} * H + u;
        const ${F} h_old = ${load(w, "now + r * pitch + u")};
% if saved:
        __global ${E} *kept = gates + (inner + place) * ${SG} * H + u;
        ${store(w, "h_old", "previous + here_h")}
% endif
% if kind == "lstm":
        const ${F} i = m_sigmoid(${gate(0)}), f = m_sigmoid(${gate(1)});
        const ${F} g = m_tanh(${gate(2)}), o = m_sigmoid(${gate(3)});
        const ${F} c_old = ${load(w, "carry + r * H + u")}, c = f * c_old + i * g, h = o * m_tanh(c);
        ${store(w, "c", "carry + r * H + u")}
% if saved:
        ${keep(0, "i")} ${keep(1, "f")} ${keep(2, "g")} ${keep(3, "o")}
        ${store(w, "c_old", "cells + here_h")}
% endif
% elif kind == "gru":
        const ${F} reset = m_sigmoid(${gate(0)}), z = m_sigmoid(${gate(1)});
        const ${F} inside = ${sum_of(w, 2)}${" + " + load(w, "bias + bias_at + 2 * H + u") if biased else ""};
        const ${F} n = m_tanh(${load(w, "x + 2 * H")} + reset * inside), h = n + z * (h_old - n);
% if saved:
        ${keep(0, "reset")} ${keep(1, "z")} ${keep(2, "n")} ${keep(3, "inside")}
% endif
% elif kind == "tanh":
        const ${F} h = m_tanh(${gate(0)});
% else:
        const ${F} before_h = ${gate(0)}, h = before_h < 0 ? (${F})(0) : before_h;
% endif
% if saved and SG == 1:
        ${keep(0, "h")}
% endif
        ${store(w, "h", "next_state + r * pitch + u")}
        ${store(w, "h", "Y + place * y_pitch + direction * H + u")}
        if (row >= after) {
          ${store(w, "h", "h_last + boundary + r * H + u")}
% if kind == "lstm":
          ${store(w, "c", "c_last + boundary + r * H + u")}
% endif
        }
% else:
        const __global ${E} *kept = gates + gates_at + (inner + place) * ${SG} * H + u;
        __global ${E} *slope = dX + (inner + place) * ${G} * H + u, *hidden = next_state + r * pitch + u;
        const ${F} dh = ${load(w, "dY + dY_at + place * y_pitch + direction * H + u")} + ${sum_of(w, 0)} + ${load(w, "carry + r * H + u")};
% if kind == "lstm":
        const ${F} i = ${load(w, "kept")}, f = ${load(w, "kept + H")}, g = ${load(w, "kept + 2 * H")}, o = ${load(w, "kept + 3 * H")};
        const ${F} c_old = ${load(w, "cells + cells_at + here_h")}, shape = m_tanh(f * c_old + i * g);
        const ${F} dc = ${load(w, "cell_slope + r * H + u")} + dh * o * (1 - shape * shape);
        const ${F} d0 = dc * g * i * (1 - i), d1 = dc * c_old * f * (1 - f), d2 = dc * i * (1 - g * g), d3 = dh * shape * o * (1 - o);
        ${store(w, "dc * f", "cell_slope + r * H + u")}
        ${store(w, "(%s)(0)" % F, "carry + r * H + u")}
% elif kind == "gru":
        const ${F} reset = ${load(w, "kept")}, z = ${load(w, "kept + H")}, n = ${load(w, "kept + 2 * H")}, inside = ${load(w, "kept + 3 * H")};
        const ${F} d2 = dh * (1 - z) * (1 - n * n), d1 = dh * (${load(w, "previous + previous_at + here_h")} - n) * z * (1 - z);
        const ${F} d0 = d2 * inside * reset * (1 - reset), d2_inside = d2 * reset;
        __global ${E} *slope_inside = dH + (inner + place) * ${G} * H + u;
        ${store(w, "dh * z", "carry + r * H + u")}
        ${store(w, "d0", "slope_inside")} ${store(w, "d1", "slope_inside + H")} ${store(w, "d2_inside", "slope_inside + 2 * H")}
% else:
        const ${F} h = ${load(w, "kept")};
% if kind == "tanh":
        const ${F} d0 = dh * (1 - h * h);
% else:
        const ${F} d0 = h > 0 ? dh : (${F})(0);
% endif
        ${store(w, "(%s)(0)" % F, "carry + r * H + u")}
% endif
% for g in range(G):
        ${store(w, "d%d" % g, "slope + %d * H" % g)}
        ${store(w, "d2_inside" if kind == "gru" and g == 2 else "d%d" % g, "hidden + %d * H" % g)}
% endfor
% endif
</%def>
