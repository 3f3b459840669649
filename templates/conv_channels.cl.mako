<%doc>
Direct convolution with the vector along OUTPUT CHANNELS: forward and backward-data in one text.

Algorithm. One work-item is one work-group. It owns some panels of NK*W output channels m of one conv group and some items; an item is RB
output rows of one image. Per chunk of CB reduction channels q: the weights are packed (transposed in registers) into local memory as
[panel][q][tap][NK*W]; per item the input rows are copied, zero-padded, into the slab [q][row][column], which all panels read. A tile is TY x TX output
pixels x NK vectors of accumulators: per (q, tap) NK aligned vector loads, TY*TX broadcasts, TY*TX*NK multiply-adds. Finished
accumulators wait in local memory as [pixel][NK*W] (also between chunks), and are transposed back to NCHW when they are stored.
So every spatial size, stride and dilation runs at full vector width; only channel counts below W waste lanes.

Forward: output pixel i reads slab row i*SIY + a, one phase. Backward-data of stride SO: the output pixels of each residue class
modulo SO form a phase with taps of its own, a convolution of stride 1 whose results are written SO apart.

Launch: global (m-blocks * parts), local 1. Traffic: input once per m-block (some panels), weights once per part, output once.
The hint of a vector type tells Intel's compiler that the text is vectorised already: without it, it spends three quarters of the
build on a variant of several items per vector, which no launch with one item per work-group runs. All conv templates have it.
Source: slab and tile shapes measured in FIGURES-kernels.md section 3; phases: Dumoulin & Visin, A guide to convolution arithmetic.
</%doc>
<%
M = NK * W
TW = f"{T}{W}"
shorter = [v for v in (8, 4) if v < W]
def steps(count, roll):
    return range(1) if roll else range(count)
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${IT} *restrict in, const __global ${WT} *restrict weight${epilogue_parameters},
            __local ${T} *slab, __local ${TW} *pack, __local ${TW} *sums,
            const int m_blocks, const int m_count, const int q_count,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int out_rows, const int out_columns,
            const ${INDEX} w_offset, const ${INDEX} w_g, const ${INDEX} w_m, const ${INDEX} w_q, const ${INDEX} w_end,
            const int items, const int items_per_part, const int blocks_of_rows, const int rows_per_block,
            const int pitch, const int slab_rows, const int chunk, const int panels, const int sums_pitch, const int sums_panel, const int sums_item,
            const int base_y, const int base_x, const int flat, const int all_blocks)
{
    const int block = get_global_id(0) % all_blocks, part = get_global_id(0) / all_blocks;
    const int g = block / m_blocks, m_first = (block % m_blocks) * panels * ${M};
    const int m_last = m_first + panels * ${M} < m_count ? m_first + panels * ${M} : m_count;
    const int panel = chunk * ${RS * NK};
    const int plane = slab_rows * pitch;
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
% if not DIRECT:
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + pitch ? in_columns : base_x + pitch;
    for (int i = 0; i < chunk * slab_rows; i++)
        for (int j = 0; j < pitch; j++) slab[i * pitch + j] = 0;
% endif
    __local ${T} *turned = (__local ${T} *)(pack + panels * panel);

    for (int q0 = 0; q0 < q_count; q0 += chunk) {
        const int count = q_count - q0 < chunk ? q_count - q0 : chunk;
        // ---- weights of this chunk: [panel][q][tap][m]
        for (int m0 = m_first; m0 < m_last; m0 += ${M}) {
        const __global ${WT} *w_block = weight + w_offset + g * w_g + m0 * w_m;
        const ${INDEX} w_left = w_end - (w_offset + g * w_g + m0 * w_m);
        __local ${TW} *packed = pack + (m0 - m_first) / ${M} * panel;
% if UNIT:
        for (int q = 0; q < count; q++) {
            const __global ${WT} *from = w_block + (q0 + q) * w_q;
            if (m0 + ${M} <= m_count) {
% for k in range(NK):
                packed[q * ${NK} + ${k}] = ${wload}${W}(from + ${k * W});
% endfor
            } else {
                __local ${T} *to = (__local ${T} *)(packed + q * ${NK});
                for (int m = 0; m < ${M}; m++) to[m] = m0 + m < m_count ? ${wload}1(from + m) : 0;
            }
        }
% else:
<%
runs = "1" if RUN else "count"
length = f"count * {RS}" if RUN else str(RS)
%>
        for (int run = 0; run < ${runs}; run++) {
            for (int k = 0; k < ${NK}; k++) {
                const ${INDEX} from = (q0 + run) * w_q + k * ${W} * w_m;
                const int rows = m_count - m0 - k * ${W};
                __local ${TW} *to = packed + run * ${RS * NK} + k;
                for (int e = 0; e < ${length}; e += ${W}) {
                    const int left = ${length} - e < ${W} ? ${length} - e : ${W};
                    if (rows >= ${W} && from + ${W - 1} * w_m + e + ${W} <= w_left) {
                        ${wload.replace("vec_load", "").replace("load", "")}transpose${W}(w_block + from + e, w_m, to + e * ${NK}, ${NK});
                    } else {
                        for (int i = 0; i < left; i++) {
                            __local ${T} *lane = (__local ${T} *)(to + (e + i) * ${NK});
                            for (int m = 0; m < ${W}; m++)
                                lane[m] = m < rows ? ${wload}1(w_block + from + m * w_m + e + i) : 0;
                        }
                    }
                }
            }
        }
% endif
        }
        for (int item = part * items_per_part; item < last; item++) {
            const int n = item / blocks_of_rows, y0 = (item % blocks_of_rows) * rows_per_block;
            const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
            __local ${TW} *sum_item = sums + (item - part * items_per_part) * sums_item;
            const __global ${IT} *image = in + in_offset + n * in_n + (g * q_count + q0) * in_c;
% if DIRECT:
            const __global ${T} *origin = image + (y0${f" / {SOY}" if SOY > 1 else ""} * ${SIY} + base_y) * in_h + base_x;
% else:
            // ---- the slab: rows of the chunk's input channels, zero where they lie outside the image
            if (column1 > column0)
                for (int q = 0; q < count; q++)
                    for (int row = 0; row < slab_rows; row++) {
                        const int y = y0${f" / {SOY}" if SOY > 1 else ""} * ${SIY} + base_y + row;
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
            for (int m0 = m_first; m0 < m_last; m0 += ${M}) {
            const __local ${TW} *packed = pack + (m0 - m_first) / ${M} * panel;
            __local ${TW} *sum_panel = sum_item + (m0 - m_first) / ${M} * sums_panel;
            // ---- tiles
% for by, bx, tap_rows, tap_columns in phases:
            {
                const int phase_rows = (rows - ${by} + ${SOY - 1}) / ${SOY}, phase_columns = (out_columns - ${bx} + ${SOX - 1}) / ${SOX};
                for (int ty = 0; ty < phase_rows; ty += ${TY})
                    for (int tx = 0; tx < phase_columns; tx += ${TX}) {
                        __local ${TW} *to = sum_panel + ((ty * ${SOY} + ${by}) * sums_pitch + tx * ${SOX} + ${bx}) * ${NK};
                        ${TW} ${", ".join(f"c{i}_{j}_{k}" for i in range(TY) for j in range(TX) for k in range(NK))};
                        if (q0 == 0) {
                            ${" = ".join(f"c{i}_{j}_{k}" for i in range(TY) for j in range(TX) for k in range(NK))} = 0;
                        } else {
% for i in range(TY):
% for j in range(TX):
% for k in range(NK):
                            c${i}_${j}_${k} = to[(${i * SOY} * sums_pitch + ${j * SOX}) * ${NK} + ${k}];
% endfor
% endfor
% endfor
                        }
% if tap_rows[2] and tap_columns[2]:
<%
r0, dr, nr, a0, da = tap_rows
s0, ds, ns, b0, db = tap_columns
roll_columns = ns * TX * TY * NK * len(phases) > 512
roll_rows = roll_columns or RS * TX * TY * NK > 520
%>
                        const ${"__global" if DIRECT else "__local"} ${T} *p = origin + ty * ${SIY} * pitch + tx * ${SIX};
                        const __local ${TW} *w = packed;
                        for (int q = 0; q < count; q++) {
% if roll_rows:
                            for (int r = 0; r < ${nr}; r++) {
% endif
% for r in steps(nr, roll_rows):
<%
a = f"({a0} + r * {da})" if roll_rows else str(a0 + r * da)
t = f"({r0} + r * {dr}) * {S}" if roll_rows else str((r0 + r * dr) * S)
%>
% for i in range(TY):
                            const ${"__global" if DIRECT else "__local"} ${T} *p${r}_${i} = p + (${i * SIY} + ${a}) * pitch;
% endfor
% if roll_columns:
                            for (int s = 0; s < ${ns}; s++) {
% endif
% for s in steps(ns, roll_columns):
<%
b = f"{b0} + s * {db}" if roll_columns else str(b0 + s * db)
u = f"{s0} + s * {ds}" if roll_columns else str(s0 + s * ds)
%>
                            {
% for k in range(NK):
                                const ${TW} w${k} = w[(${t} + ${u}) * ${NK} + ${k}];
% endfor
% for i in range(TY):
% for j in range(TX):
                                { const ${T} v = p${r}_${i}[${j * SIX} + ${b}];
% for k in range(NK):
                                c${i}_${j}_${k} += w${k} * v;
% endfor
                                }
% endfor
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
                            w += ${RS * NK};
                        }
% endif
% for i in range(TY):
% for j in range(TX):
% for k in range(NK):
                        to[(${i * SOY} * sums_pitch + ${j * SOX}) * ${NK} + ${k}] = c${i}_${j}_${k};
% endfor
% endfor
% endfor
                    }
            }
% endfor
            if (q0 + count < q_count) continue;
            // ---- transposed back to rows of pixels, finished and stored
            const int store_rows = flat ? 1 : rows, store_columns = flat ? rows * out_columns : out_columns;
            for (int k = 0; k < ${NK}; k++) {
                const int channels = m_count - m0 - k * ${W} < ${W} ? m_count - m0 - k * ${W} : ${W};
                for (int row = 0; row < store_rows; row++) {
                    const int y = y0 + row;
                    for (int x0 = 0; x0 < store_columns; x0 += ${W}) {
                        const __local ${TW} *from = sum_panel + (row * sums_pitch + x0) * ${NK} + k;
                        transpose${W}((const __local ${T} *)from, ${NK * W}, (__local ${TW} *)turned, 1);
                        for (int i = 0; i < channels; i++) {
                            const int c = g * m_count + m0 + k * ${W} + i;
                            const __local ${T} *line = turned + i * ${W} - x0;
                            int x = x0;
                            if (x + ${W} <= store_columns) {
                                const ${TW} value = vec_load${W}(line + x);
                                ${store[W]}
                            } else {
% if W > 4:
                                for (; x + 4 <= store_columns; x += 4) {
                                    const ${T}4 value = vec_load4(line + x);
                                    ${store[4]}
                                }
% endif
                                for (; x < store_columns; x++) {
                                    const ${T} value = line[x];
                                    ${store[1]}
                                }
                            }
                        }
                    }
                }
            }
            }
        }
    }
}
