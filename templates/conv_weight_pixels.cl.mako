<%doc>
Gradient of the weight of a convolution of horizontal stride 1, with the vector along a ROW OF PIXELS, for few output channels.

  dw[k, c, r, s] = sum n,y,x  dy[n, k, y, x] * x[n, c, y*SY - PY + r*DY, x - PX + s*DX]

Algorithm. One work-item is one work-group. It owns MK output channels k, one input channel c, TR tap rows and all S tap columns, and some
items; an item is some output rows of one image. MK*TR*S vectors of partial sums stay in registers over all of them: per vector of
pixels MK + TR*S loads and MK*TR*S multiply-adds; their lanes are added once, at the end. DIRECT (no padding, rows of at least W
pixels): both tensors are read where they lie, and the last vector of a row is shifted back to end with the row, the lanes of
dy already seen set to zero. Otherwise both are copied, zero-padded, into local memory. Several parts write into scratch
[part][k][c][tap], which conv_reduce adds up in a fixed order.

Launch: global (blocks * parts), local 1. Traffic: dy once per c and block of tap rows, x once per block of k and of tap rows.
</%doc>
<%
TW = f"{T}{W}"
MASK = ("long" if T == "double" else "int") + str(W)
places = [(m, r, s) for m in range(MK) for r in range(TR) for s in range(S)]
shorter = [v for v in (8, 4) if v < W]
SPACE = "__global" if DIRECT else "__local"
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${AT} *restrict given, const __global ${BT} *restrict in${epilogue_parameters},
            __local ${T} *slab, __local ${T} *padded, __local ${T} *sums,
            const int k_blocks, const int r_blocks, const int k_count, const int c_count,
            const ${INDEX} g_offset, const ${INDEX} g_n, const ${INDEX} g_c, const int g_h,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int out_rows, const int out_columns,
            const int items, const int items_per_part, const int blocks_of_rows, const int rows_per_block,
            const int pitch, const int slab_rows, const int padded_columns, const int base_y, const int base_x, const int all_blocks)
{
    const int block = get_global_id(0) % all_blocks, part = get_global_id(0) / all_blocks;
    const int r0 = block % r_blocks * ${TR}, c0 = block / r_blocks % c_count;
    const int k0 = block / r_blocks / c_count % k_blocks * ${MK}, g = block / r_blocks / c_count / k_blocks;
    const int channels = k_count - k0 < ${MK} ? k_count - k0 : ${MK};
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
% if not DIRECT:
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + pitch ? in_columns : base_x + pitch;
    for (int i = 0; i < slab_rows; i++)
        for (int j = 0; j < pitch; j++) slab[i * pitch + j] = 0;
    for (int i = 0; i < ${MK} * rows_per_block; i++)
        for (int j = 0; j < padded_columns; j++) padded[i * padded_columns + j] = 0;
% else:
    // lanes of the last vector of a row that the one before it had not
    const int seen = (out_columns + ${W - 1}) / ${W} * ${W} - out_columns;
    const ${MASK} fresh = (${MASK})(${", ".join(map(str, range(W)))}) >= (${MASK})(seen);
% endif
    ${TW} ${", ".join(f"c{m}_{r}_{s} = 0" for m, r, s in places)};
    for (int item = part * items_per_part; item < last; item++) {
        const int n = item / blocks_of_rows, y0 = item % blocks_of_rows * rows_per_block;
        const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
        const __global ${AT} *dy = given + g_offset + n * g_n + (g * k_count + k0) * g_c + y0 * g_h;
        const __global ${BT} *image = in + in_offset + n * in_n + (g * c_count + c0) * in_c;
% if DIRECT:
        const __global ${T} *x_rows = image + (y0 * ${SY} + r0 * ${DY} + base_y) * in_h + base_x;
        const int full = out_columns / ${W} * ${W};
% for m in range(MK):
        const __global ${T} *d${m} = dy + (channels > ${m} ? ${m} : 0) * g_c;
% endfor
% else:
        for (int row = 0; row < slab_rows; row++) {
            const int y = y0 * ${SY} + r0 * ${DY} + base_y + row;
            __local ${T} *to = slab + row * pitch + column0 - base_x;
            const int length = column1 - column0;
            int x = 0;
            if (y >= 0 && y < in_rows) {
                const __global ${BT} *from = image + y * in_h + column0;
                for (; x + ${W} <= length; x += ${W}) vec_store${W}(${bload}${W}(from + x), to + x);
% for v in shorter:
                if (x + ${v} <= length) { vec_store${v}(${bload}${v}(from + x), to + x); x += ${v}; }
% endfor
                for (; x < length; x++) to[x] = ${bload}1(from + x);
            } else {
                for (; x < length; x++) to[x] = 0;
            }
        }
        for (int k = 0; k < channels; k++)
            for (int row = 0; row < rows; row++) {
                const __global ${AT} *from = dy + k * g_c + row * g_h;
                __local ${T} *to = padded + (k * rows_per_block + row) * padded_columns;
                int x = 0;
                for (; x + ${W} <= out_columns; x += ${W}) vec_store${W}(${aload}${W}(from + x), to + x);
% for v in shorter:
                if (x + ${v} <= out_columns) { vec_store${v}(${aload}${v}(from + x), to + x); x += ${v}; }
% endfor
                for (; x < out_columns; x++) to[x] = ${aload}1(from + x);
            }
        const __local ${T} *x_rows = slab;
        const int full = padded_columns;
% for m in range(MK):
        const __local ${T} *d${m} = padded + ${m} * rows_per_block * padded_columns;
% endfor
% endif
        for (int row = 0; row < rows; row++) {
% for r in range(TR):
            const ${SPACE} ${T} *p${r} = x_rows + (row * ${SY} + ${r * DY}) * pitch;
% endfor
            for (int x = 0; x < full; x += ${W}) {
% for m in range(MK):
                const ${TW} v${m} = vec_load${W}(d${m} + x);
% endfor
% for r in range(TR):
% for s in range(S):
                { const ${TW} w = vec_load${W}(p${r} + x + ${s * DX});
% for m in range(MK):
                c${m}_${r}_${s} += v${m} * w;
% endfor
                }
% endfor
% endfor
            }
% if DIRECT:
            if (seen) {
                const int x = out_columns - ${W};
% for m in range(MK):
                const ${TW} v${m} = fresh ? vec_load${W}(d${m} + x) : (${TW})(0);
% endfor
% for r in range(TR):
% for s in range(S):
                { const ${TW} w = vec_load${W}(p${r} + x + ${s * DX});
% for m in range(MK):
                c${m}_${r}_${s} += v${m} * w;
% endfor
                }
% endfor
% endfor
            }
% endif
% for m in range(MK):
            d${m} += ${"g_h" if DIRECT else "padded_columns"};
% endfor
        }
    }
    // ---- lanes added, finished and stored
% for i, (m, r, s) in enumerate(places):
    vec_store${W}(c${m}_${r}_${s}, sums + ${i * W});
% endfor
    for (int m = 0; m < channels; m++)
        for (int r = 0; r < ${TR}; r++)
            for (int s = 0; s < ${S}; s++) {
                const __local ${T} *lane = sums + ((m * ${TR} + r) * ${S} + s) * ${W};
                ${T} value = 0;
                for (int i = 0; i < ${W}; i++) value += lane[i];
                const int n = g * k_count + k0 + m, y = r0 + r;
                ${store[1]}
            }
}
