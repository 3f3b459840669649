<%doc>
Direct convolution with the vector along a ROW OF PIXELS, for few output channels: forward, and backward-data of stride 1.

Algorithm. One work-item is one work-group. It owns MR output channels m of one conv group and some items; an item is some output
rows of one image. A tile is MR channels x TY rows x NV vectors of pixels; per (input channel, tap) TY*NV unaligned vector loads, MR
broadcasts of weights read where they lie, MR*TY*NV multiply-adds. Input rows come from a zero-padded slab in local memory or, where
nothing is padded (DIRECT), from the input itself. OVERLAP: rows of at least W pixels end with a vector shifted back to end with
the row, computed and stored twice with equal results; else the tail of a row is stored in shorter pieces.

Launch: global (m-blocks * parts), local 1. Traffic: input once per m-block, output once; weights stay in the first-level cache.
</%doc>
<%
TW = f"{T}{W}"
shorter = [v for v in (8, 4) if v < W]
r0, dr, nr, a0, da = tap_rows
s0, ds, ns, b0, db = tap_columns
roll_columns = ns * MR * TY * NV > 400
roll_rows = roll_columns or nr * ns * MR * TY * NV > 640
SPACE = "__global" if DIRECT else "__local"
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${IT} *restrict in, const __global ${WT} *restrict weight${epilogue_parameters}, __local ${T} *slab, __local ${T} *done,
            const int m_blocks, const int m_count, const int q_count,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int out_rows, const int out_columns,
            const ${INDEX} w_offset, const ${INDEX} w_g, const ${INDEX} w_m, const ${INDEX} w_q,
            const int items, const int items_per_part, const int blocks_of_rows, const int rows_per_block,
            const int pitch, const int slab_rows, const int base_y, const int base_x, const int all_blocks)
{
    const int block = get_global_id(0) % all_blocks, part = get_global_id(0) / all_blocks;
    const int g = block / m_blocks, m0 = (block % m_blocks) * ${MR};
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
    const int channels = m_count - m0 < ${MR} ? m_count - m0 : ${MR};
% for m in range(MR):
    const __global ${WT} *w${m} = weight + w_offset + g * w_g + (m0 + ${f"(channels > {m} ? {m} : 0)"}) * w_m;
% endfor
% if not DIRECT:
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + pitch ? in_columns : base_x + pitch;
    const int plane = slab_rows * pitch;
    for (int q = 0; q < q_count; q++)
        for (int j = 0; j < plane; j++) slab[q * plane + j] = 0;
% endif
    for (int item = part * items_per_part; item < last; item++) {
        const int n = item / blocks_of_rows, y0 = (item % blocks_of_rows) * rows_per_block;
        const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
        const __global ${IT} *image = in + in_offset + n * in_n + g * q_count * in_c;
% if DIRECT:
        const __global ${T} *origin = image + (y0 + base_y) * in_h + base_x;
% else:
        if (column1 > column0)
            for (int q = 0; q < q_count; q++)
                for (int row = 0; row < slab_rows; row++) {
                    const int y = y0 + base_y + row;
                    __local ${T} *to = slab + q * plane + row * pitch + column0 - base_x;
                    const int length = column1 - column0;
                    int x = 0;
                    if (y >= 0 && y < in_rows) {
                        const __global ${IT} *from = image + q * in_c + y * in_h + column0;
                        for (; x + ${W} <= length; x += ${W}) vec_store${W}(${iload}${W}(from + x), to + x);
% for v in shorter:
                        if (x + ${v} <= length) { vec_store${v}(${iload}${v}(from + x), to + x); x += ${v}; }
% endfor
                        for (; x < length; x++) to[x] = ${iload}1(from + x);
                    } else {
                        for (; x + ${W} <= length; x += ${W}) vec_store${W}((${TW})(0), to + x);
                        for (; x < length; x++) to[x] = 0;
                    }
                }
        const __local ${T} *origin = slab;
% endif
        for (int row = 0; row < rows; row += ${TY}) {
            const int ty = row + ${TY} <= rows ? row : rows - ${TY};
            for (int tx = 0; tx < out_columns; tx += ${NV * W}) {
% for v in range(NV):
% if OVERLAP:
                const int x${v} = tx + ${v * W + W} <= out_columns ? tx + ${v * W} : out_columns - ${W};
% else:
                const int x${v} = tx + ${v * W};
% endif
% endfor
                ${TW} ${", ".join(f"c{m}_{i}_{v} = 0" for m in range(MR) for i in range(TY) for v in range(NV))};
                const ${SPACE} ${T} *p = origin + ty * pitch;
                ${INDEX} at = 0;
                for (int q = 0; q < q_count; q++) {
% if roll_rows:
                    for (int r = 0; r < ${nr}; r++) {
% endif
% for r in (range(1) if roll_rows else range(nr)):
<%
a = f"({a0} + r * {da})" if roll_rows else str(a0 + r * da)
t = f"({r0} + r * {dr}) * {S}" if roll_rows else str((r0 + r * dr) * S)
%>
% for i in range(TY):
                    const ${SPACE} ${T} *p${r}_${i} = p + (${i} + ${a}) * pitch;
% endfor
% if roll_columns:
                    for (int s = 0; s < ${ns}; s++) {
% endif
% for s in (range(1) if roll_columns else range(ns)):
<%
b = f"{b0} + s * {db}" if roll_columns else str(b0 + s * db)
u = f"{s0} + s * {ds}" if roll_columns else str(s0 + s * ds)
%>
                    {
% for i in range(TY):
% for v in range(NV):
                        const ${TW} v${i}_${v} = vec_load${W}(p${r}_${i} + x${v} + ${b});
% endfor
% endfor
% for m in range(MR):
                        { const ${T} w = ${wload}1(w${m} + at + ${t} + ${u});
% for i in range(TY):
% for v in range(NV):
                        c${m}_${i}_${v} += v${i}_${v} * w;
% endfor
% endfor
                        }
% endfor
                    }
% endfor
% if roll_columns:
                    }
% endif
% endfor
% if roll_rows:
                    }
% endif
                    p += ${"in_c" if DIRECT else "plane"};
                    at += w_q;
                }
                // ---- finished and stored, through local memory so that the epilogue's text stands once
% for m in range(MR):
% for i in range(TY):
% for v in range(NV):
                vec_store${W}(c${m}_${i}_${v}, done + ${((m * TY + i) * NV + v) * W});
% endfor
% endfor
% endfor
                for (int m = 0; m < channels; m++)
                    for (int i = 0; i < ${TY}; i++)
                        for (int v = 0; v < ${NV}; v++) {
                            const int c = g * m_count + m0 + m, y = y0 + ty + i;
% if OVERLAP:
                            const int x = tx + v * ${W} + ${W} <= out_columns ? tx + v * ${W} : out_columns - ${W};
                            const ${TW} value = vec_load${W}(done + ((m * ${TY} + i) * ${NV} + v) * ${W});
                            ${store[W]}
% else:
                            int x = tx + v * ${W};
                            const __local ${T} *line = done + ((m * ${TY} + i) * ${NV} + v) * ${W} - x;
                            if (x + ${W} <= out_columns) {
                                const ${TW} value = vec_load${W}(line + x);
                                ${store[W]}
                            } else {
% if W > 4:
                                for (; x + 4 <= out_columns; x += 4) {
                                    const ${T}4 value = vec_load4(line + x);
                                    ${store[4]}
                                }
% endif
                                for (; x < out_columns; x++) {
                                    const ${T} value = line[x];
                                    ${store[1]}
                                }
                            }
% endif
                        }
            }
        }
    }
}
