## Stable sort along one dim: values in order and the positions they came from (NaN counts as the greatest value).
##
## Every element becomes an unsigned key whose order is the wanted one (complemented for descending). For elements of up to 32 bits,
## key and position are packed into one 64-bit word, so equal keys are ordered by position by any algorithm; for 64-bit elements
## positions travel in an array beside the keys (`wide`). Values are copied from the input by position at the end: every bit of
## them, -0.0 and NaN payloads too, survives. Forms:
##   rows      a work-item sorts whole rows: insertion up to 32 elements, else least-significant-digit radix, 8 bits per pass, where
##             passes in which all keys agree are skipped
##   radix     long rows, by launches: `keys`, then per digit `count` (digits per chunk), `offsets` (where each chunk's digits go) and
##             `place`, then `finish`
##   bitonic   GPU, up to `capacity` elements: one work-group per row in local memory
##             A pass over a digit in which all keys agree does nothing: `keys` notes the bits in which keys differ (CPU only).
##   select    smallest keys only, for topk with the smallest k: a sorted list of k, insertion only below its last; long rows in
##             pieces, whose lists `merge` goes through; contiguous 32-bit elements are first compared with the list's last by vectors
##   sieve     the same for larger k: what is below the k-th so far is appended to a buffer without a branch; when the buffer is
##             full, it is sorted and cut to k; `sift` does so with the lists of the pieces
## Traffic of radix: keys twice per digit. Source: Knuth 1998, vol. 3, 5.2.5 (radix); Batcher 1968 (bitonic).
<%
P = "ulong"
BINS = 256
%>
INLINE ${K} KERNEL_key(${storage} bits) {
% if kind == "float":
  const ${K} magnitude = (${K})bits & ${hex(sign - 1)}${suffix};
  ${K} key = ((${K})bits & ${hex(sign)}${suffix}) ? (${K})(~(${K})bits & ${hex(2 * sign - 1)}${suffix}) : ((${K})bits | ${hex(sign)}${suffix});
  key = magnitude == 0 ? (${K})${hex(sign)}${suffix} : key;
  key = magnitude > ${hex(infinity)}${suffix} ? (${K})${hex(2 * sign - 1)}${suffix} : key;
% elif kind == "signed":
  ${K} key = ((${K})bits ^ ${hex(sign)}${suffix}) & ${hex(2 * sign - 1)}${suffix};
% else:
  ${K} key = (${K})bits;
% endif
% if descending:
  key = ~key & ${hex(2 * sign - 1)}${suffix};
% endif
  return key;
}
% if lanes > 1:
## the same keys for many elements at once
INLINE uint${lanes} KERNEL_keys(uint${lanes} bits) {
% if kind == "float":
  const uint${lanes} magnitude = bits & ${hex(sign - 1)}u;
  uint${lanes} key = (bits & ${hex(sign)}u) != 0 ? ~bits : (bits | ${hex(sign)}u);
  key = magnitude == 0 ? (uint${lanes})(${hex(sign)}u) : key;
  key = magnitude > ${hex(infinity)}u ? (uint${lanes})(${hex(2 * sign - 1)}u) : key;
% elif kind == "signed":
  uint${lanes} key = bits ^ ${hex(sign)}u;
% endif
  return ${"~key" if descending else "key"};
}
% endif
<%def name="word(position)">\
${"KERNEL_key(x[x_row + (I)(%s) * x_step])" % position if wide else "((ulong)KERNEL_key(x[x_row + (I)(%s) * x_step]) << 32) | (uint)(%s)" % (position, position)}\
</%def>
## which passes did something: whether keys lie in the second buffer now, and nothing to do where this digit is the same everywhere
<%def name="where()">
% if skips:
  ulong bits = 0;
  for (int i = 0; i < writers; i++) bits |= differing[i];
  int moved = 0;
  for (int s = ${base}; s < shift; s += 8) moved ^= ((bits >> s) & 255u) != 0;
% if form != "finish":
  if (((bits >> shift) & 255u) == 0) return;
% endif
% endif
</%def>
<%def name="order()">
      for (int c = 0; c < ${passes * BINS}; c++) counts[c] = 0;
      for (I i = 0; i < held; i++) {
        const ulong w = a[i];
% for p in range(passes):
        counts[${p * BINS} + (${digit("w", base + 8 * p)})]++;
% endfor
      }
${passes_over("held")}
</%def>
<%def name="passes_over(n)">
      for (int p = 0; p < ${passes}; p++) {
        __local uint *const c = counts + p * ${BINS};
        const int shift = ${base} + 8 * p;
        if (c[${digit("a[0]", "shift")}] == (uint)(${n})) continue;
        uint sum = 0;
        for (int d = 0; d < ${BINS}; d++) { const uint n = c[d]; c[d] = sum; sum += n; }
        for (I i = 0; i < ${n}; i++) {
          const ulong w = a[i];
          const uint to = c[${digit("w", "shift")}]++;
          b[to] = w;
% if wide:
          bi[to] = ai[i];
% endif
        }
        { __global ulong *t = a; a = b; b = t; }
% if wide:
        { __global uint *t = ai; ai = bi; bi = t; }
% endif
      }
</%def>
<%def name="digit(w, shift)">(uint)(${w} >> ${shift}) & 255u</%def>
typedef ${I} KERNEL_index;
#define I KERNEL_index
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
% if form == "rows":
  __local uint counts[${passes * BINS}];
  ${span}
  __global ulong *const first = keys + (ulong)item * length * 2;
% if wide:
  __global uint *const first_ids = ids + (ulong)item * length * 2;
% endif
  for (I row = row_begin; row < row_end; row++) {
    I x_row = x_offset, v_row = v_offset, at_row = at_offset;
    ${locate_row}
    __global ulong *a = first, *b = first + length;
% if wide:
    __global uint *ai = first_ids, *bi = first_ids + length;
% endif
    if (length <= 32) {
      for (I i = 0; i < length; i++) {
        const ulong w = ${word("i")};
        I k = i;
        for (; k > 0 && a[k - 1] > w; k--) {
          a[k] = a[k - 1];
% if wide:
          ai[k] = ai[k - 1];
% endif
        }
        a[k] = w;
% if wide:
        ai[k] = (uint)i;
% endif
      }
    } else {
      for (int c = 0; c < ${passes * BINS}; c++) counts[c] = 0;
      for (I i = 0; i < length; i++) {
        const ulong w = ${word("i")};
        a[i] = w;
% if wide:
        ai[i] = (uint)i;
% endif
% for p in range(passes):
        counts[${p * BINS} + (${digit("w", base + 8 * p)})]++;
% endfor
      }
${passes_over("length")}
    }
    for (I i = 0; i < wanted; i++) {
      const I from = (I)${"ai[i]" if wide else "(uint)a[i]"};
      values[v_row + i * v_step] = x[x_row + from * x_step];
      at[at_row + i * at_step] = from;
    }
  }
% elif form == "keys":
  ${span}
% if skips:
  const ulong one = ${capture(word, "0").replace("x_row", "x_offset")};
  ulong bits = 0;
% endif
  for (I row = row_begin; row < row_end; row++) {
    I x_row = x_offset;
    ${locate_row}
    for (I i = begin; i < end; i++) {
      const ulong w = ${word("i")};
      keys[(ulong)row * length + i] = w;
% if skips:
      bits |= w ^ one;
% endif
% if wide:
      ids[(ulong)row * length + i] = (uint)i;
% endif
    }
  }
% if skips:
  differing[get_global_id(0)] = bits;
% endif
% elif form == "count" or form == "place":
  const I item = (I)get_global_id(0), row = item / pieces, piece = item - row * pieces;
  if (row >= rows) return;
${where()}
  const I t_begin = piece * piece_length, t_stop = t_begin + piece_length, t_end = t_stop < length ? t_stop : length;
  __global const ulong *const a = ${"(moved ? sorted : keys)" if skips else "keys"} + (ulong)row * length;
  __global uint *const c = counts + (ulong)row * ${BINS} * pieces + piece;
% if form == "count":
% if group == 1:
  __local uint mine[${BINS}];
  for (int d = 0; d < ${BINS}; d++) mine[d] = 0;
  for (I t = t_begin; t < t_end; t++) mine[${digit("a[t]", "shift")}]++;
  for (int d = 0; d < ${BINS}; d++) c[(ulong)d * pieces] = mine[d];
% else:
  for (int d = 0; d < ${BINS}; d++) c[(ulong)d * pieces] = 0;
  for (I t = t_begin; t < t_end; t++) c[(ulong)(${digit("a[t]", "shift")}) * pieces]++;
% endif
% else:
  __global ulong *const b = ${"(moved ? keys : sorted)" if skips else "sorted"} + (ulong)row * length;
% if wide:
  __global const uint *const ai = ${"(moved ? sorted_ids : ids)" if skips else "ids"} + (ulong)row * length;
  __global uint *const bi = ${"(moved ? ids : sorted_ids)" if skips else "sorted_ids"} + (ulong)row * length;
% endif
% if group == 1:
  __local uint mine[${BINS}];
  for (int d = 0; d < ${BINS}; d++) mine[d] = c[(ulong)d * pieces];
% endif
  for (I t = t_begin; t < t_end; t++) {
    const ulong w = a[t];
    const uint to = ${"mine[%s]" % capture(digit, "w", "shift") if group == 1 else "c[(ulong)(%s) * pieces]" % capture(digit, "w", "shift")}++;
    b[to] = w;
% if wide:
    bi[to] = ai[t];
% endif
  }
% endif
% elif form == "offsets":
${where()}
% if group == 1:
  const I row = (I)get_global_id(0);
  __global uint *const c = counts + (ulong)row * ${BINS} * pieces;
  uint sum = 0;
  for (I i = 0; i < ${BINS} * pieces; i++) { const uint n = c[i]; c[i] = sum; sum += n; }
% else:
  __local uint starts[${BINS}];
  const uint d = (uint)get_local_id(0);
  __global uint *const c = counts + ((ulong)get_group_id(0) * ${BINS} + d) * pieces;
  uint sum = 0;
  for (I i = 0; i < pieces; i++) sum += c[i];
  starts[d] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  sum = 0;
  for (uint e = 0; e < d; e++) sum += starts[e];
  for (I i = 0; i < pieces; i++) { const uint n = c[i]; c[i] = sum; sum += n; }
% endif
% elif form == "finish":
  ${span}
${where()}
% if skips:
  if (moved) keys = sorted;
% if wide:
  if (moved) ids = sorted_ids;
% endif
% endif
  for (I row = row_begin; row < row_end; row++) {
    I x_row = x_offset, v_row = v_offset, at_row = at_offset;
    ${locate_row}
    for (I i = begin; i < end; i++) {
      const I from = (I)${"ids[(ulong)row * length + i]" if wide else "(uint)keys[(ulong)row * length + i]"};
      values[v_row + i * v_step] = x[x_row + from * x_step];
      at[at_row + i * at_step] = from;
    }
  }
% elif form == "bitonic":
  __local ulong a[${capacity}];
% if wide:
  __local uint ai[${capacity}];
% endif
  const I row = (I)get_group_id(0);
  const int me = (int)get_local_id(0);
  I x_row = x_offset, v_row = v_offset, at_row = at_offset;
  ${locate_row}
  for (int i = me; i < padded; i += ${group}) {
    a[i] = i < length ? ${word("i")} : ~(ulong)0;
% if wide:
    ai[i] = (uint)i;
% endif
  }
  for (int size = 2; size <= padded; size *= 2)
    for (int gap = size / 2; gap > 0; gap /= 2) {
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int p = me; p < padded / 2; p += ${group}) {
        const int i = 2 * p - (p & (gap - 1)), k = i + gap;
        const ulong u = a[i], v = a[k];
% if wide:
        const uint ui = ai[i], vi = ai[k];
        const int greater = u > v || (u == v && ui > vi);
% else:
        const int greater = u > v;
% endif
        if (greater == ((i & size) == 0)) {
          a[i] = v; a[k] = u;
% if wide:
          ai[i] = vi; ai[k] = ui;
% endif
        }
      }
    }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int i = me; i < wanted; i += ${group}) {
    const I from = (I)${"ai[i]" if wide else "(uint)a[i]"};
    values[v_row + (I)i * v_step] = x[x_row + from * x_step];
    at[at_row + (I)i * at_step] = from;
  }
% elif form == "sieve" or form == "sift":
  __local uint counts[${passes * BINS}];
% if form == "sieve":
  const I item = (I)get_global_id(0), row = item / pieces, piece = item - row * pieces;
  const I t_begin = piece * piece_length, t_stop = t_begin + piece_length, t_end = t_stop < length ? t_stop : length;
  I x_row = x_offset${", v_row = v_offset, at_row = at_offset" if direct else ""};
  ${locate_row}
% else:
  const I item = (I)get_global_id(0), row = item, t_begin = 0, t_end = pieces * wanted;
  I x_row = x_offset, v_row = v_offset, at_row = at_offset;
  ${locate_row}
% endif
  __global ulong *a = sieves + (ulong)item * capacity * 2, *b = a + capacity;
% if wide:
  __global uint *ai = sieve_ids + (ulong)item * capacity * 2, *bi = ai + capacity;
% endif
  I held = 0;
  int full = 0;
  ulong limit = 0;
  for (I t = t_begin; t < t_end; t += 16) {
    if (held + 16 > capacity) {
${order()}
      held = wanted;
      limit = a[held - 1];
      full = 1;
    }
    const I stop = t + 16 < t_end ? t + 16 : t_end;
% if lanes > 1:
    if (full & (t + 16 <= t_end)) {
      const int16 better = KERNEL_keys(vec_load16(x + x_row + t)) < (uint)(limit >> 32);
      const int8 any8 = better.lo | better.hi;
      const int4 any4 = any8.lo | any8.hi;
      const int2 any2 = any4.lo | any4.hi;
      if (!(any2.x | any2.y)) continue;
    }
% endif
    for (I i = t; i < stop; i++) {
% if form == "sieve":
      const ulong w = ${word("i")};
% if wide:
      const uint id = (uint)i;
% endif
      const int real = 1;
% else:
      const ulong w = lists[(ulong)row * pieces * wanted + i];
% if wide:
      const uint id = list_ids[(ulong)row * pieces * wanted + i];
      const int real = id != 0xffffffffu;
% else:
      const int real = w != ~(ulong)0;
% endif
% endif
      a[held] = w;
% if wide:
      ai[held] = id;
% endif
      held += real & ((w < limit) | !full);
    }
  }
${order()}
% if form == "sieve" and not direct:
  for (I k = 0; k < wanted; k++) {
    const ulong slot = ((ulong)row * pieces + piece) * wanted + k;
    lists[slot] = k < held ? a[k] : ~(ulong)0;
% if wide:
    list_ids[slot] = k < held ? ai[k] : 0xffffffffu;
% endif
  }
% else:
  for (I k = 0; k < wanted && k < held; k++) {
    const I from = (I)${"ai[k]" if wide else "(uint)a[k]"};
    values[v_row + k * v_step] = x[x_row + from * x_step];
    at[at_row + k * at_step] = from;
  }
% endif
% else:
  __local ulong best[${capacity}];
% if wide:
  __local uint best_ids[${capacity}];
% endif
% if form == "select":
  const I item = (I)get_global_id(0), row = item / pieces, piece = item - row * pieces;
  const I t_begin = piece * piece_length, t_stop = t_begin + piece_length, t_end = t_stop < length ? t_stop : length;
  I x_row = x_offset;
% else:
  const I row = (I)get_global_id(0), t_begin = 0, t_end = pieces * wanted;
  I x_row = x_offset, v_row = v_offset, at_row = at_offset;
% endif
  ${locate_row}
  int held = 0;
% if lanes > 1:
  I skip_from = t_begin;
% endif
  for (I t = t_begin; t < t_end; t++) {
% if lanes > 1:
    ## most elements are past the last of a full list: look at many of them at once
    if (t == skip_from) {
      while (held == wanted && skip_from + ${lanes} <= t_end) {
        const int${lanes} better = KERNEL_keys(vec_load${lanes}(x + x_row + skip_from)) < (uint)(best[held - 1] >> 32);
<% width, name = lanes, "better" %>
% while width > 2:
        const int${width // 2} any${width // 2} = ${name}.lo | ${name}.hi;
<% width, name = width // 2, f"any{width // 2}" %>
% endwhile
        if (any2.x | any2.y) break;
        skip_from += ${lanes};
      }
      t = skip_from;
      skip_from += ${lanes};
      if (t >= t_end) break;
    }
% endif
% if form == "select":
    const ulong w = ${word("t")};
% if wide:
    const uint id = (uint)t;
% endif
% else:
    const ulong w = lists[(ulong)row * pieces * wanted + t];
% if wide:
    const uint id = list_ids[(ulong)row * pieces * wanted + t];
    if (id == 0xffffffffu) continue;
% else:
    if (w == ~(ulong)0) continue;
% endif
% endif
    if (held == wanted && w >= best[held - 1]) continue;
    int k = held < wanted ? held++ : held - 1;
    for (; k > 0 && best[k - 1] > w; k--) {
      best[k] = best[k - 1];
% if wide:
      best_ids[k] = best_ids[k - 1];
% endif
    }
    best[k] = w;
% if wide:
    best_ids[k] = id;
% endif
  }
% if form == "select":
  for (int k = 0; k < (int)wanted; k++) {
    const ulong slot = ((ulong)row * pieces + piece) * wanted + k;
    lists[slot] = k < held ? best[k] : ~(ulong)0;
% if wide:
    list_ids[slot] = k < held ? best_ids[k] : 0xffffffffu;
% endif
  }
% else:
  for (int k = 0; k < held; k++) {
    const I from = (I)${"best_ids[k]" if wide else "(uint)best[k]"};
    values[v_row + (I)k * v_step] = x[x_row + from * x_step];
    at[at_row + (I)k * at_step] = from;
  }
% endif
% endif
}
#undef I
