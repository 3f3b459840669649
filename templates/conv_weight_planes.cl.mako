<%doc>
Gradient of the weight of a convolution of few channels per group, the vector along a whole PADDED PLANE: depthwise and grouped
convolutions of any image size and stride.

  dw[k, c, r, s] = sum n,y,x  dy[n, k, y, x] * x[n, c, y*SY - PY + r*DY, x*SX - PX + s*DX]

Algorithm. One work-item is one work-group. It owns blocks of MK output channels k of one conv group each, and some items; an item is some images,
or some rows of one. Input rows lie in local memory as in conv_planes, split by residue of the stride; rows of dy lie with the same pitch, zeros
between them, so that element f of dy meets element f + r*pitch + s for every f. Per vector of dy MK loads, and per tap one unaligned load and MK
multiply-adds. Taps are taken as many at a time as registers hold; their sums, a vector each, stay in local memory until the
last item and their lanes are added once, at the end. Several parts write into scratch [part][k][c][tap], which conv_reduce adds
up in a fixed order.

Launch: global (groups * k-blocks * parts), local 1. Traffic: x once per k-block, dy once.
</%doc>
<%
TW = f"{T}{W}"
PLANES = SIY * SIX
places = sorted({(tap[1], tap[2]) for tap in taps})
chunks = [taps[i : i + NT] for i in range(0, len(taps), NT)]
%>
${rows}
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${AT} *restrict given, const __global ${IT} *restrict in${epilogue_parameters},
            __local ${T} *slab, __local ${T} *padded, __local ${TW} *sums,
            const int k_blocks, const int k_count, const int c_count,
            const ${INDEX} g_offset, const ${INDEX} g_n, const ${INDEX} g_c, const int g_h,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int images, const int out_rows, const int out_columns,
            const int items, const int items_per_part, const int blocks_of_rows, const int rows_per_block, const int images_per_item,
            const int plane, const int image_rows, const int slab_rows, const int pitch, const int padded_length,
            const int base_y, const int base_x, const int columns, const int all_blocks, const int units, const int blocks_per_unit)
{
    const int unit = get_global_id(0) % units, part = get_global_id(0) / units;
    const int end_block = (unit + 1) * blocks_per_unit < all_blocks ? (unit + 1) * blocks_per_unit : all_blocks;
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + columns ? in_columns : base_x + columns;
    for (int c = 0; c < c_count; c++)
        for (int i = 0; i < ${PLANES} * plane; i += ${W}) vec_store${W}((${TW})(0), slab + c * ${PLANES} * plane + i);
    for (int k = 0; k < ${MK}; k++)
        for (int i = 0; i < padded_length; i += ${W}) vec_store${W}((${TW})(0), padded + k * padded_length + i);
% for p, row in places:
    const int place${p}_${row} = ${p} * plane + ${row} * pitch;
% endfor
    for (int block = unit * blocks_per_unit; block < end_block; block++) {
    const int g = block / k_blocks, k0 = (block % k_blocks) * ${MK};
    const int channels = k_count - k0 < ${MK} ? k_count - k0 : ${MK};
    for (int i = 0; i < c_count * ${len(taps) * MK}; i++) sums[i] = 0;
    for (int item = part * items_per_part; item < last; item++) {
        const int n0 = item / blocks_of_rows * images_per_item, y0 = item % blocks_of_rows * rows_per_block;
        const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
        const int some = images - n0 < images_per_item ? images - n0 : images_per_item;
        const int length = ((some - 1) * image_rows + rows - 1) * pitch + out_columns;
        // ---- the slab
        for (int c = 0; c < c_count; c++)
            for (int image = 0; image < some; image++)
                KERNEL_fill(in + in_offset + (n0 + image) * in_n + (g * c_count + c) * in_c + column0, in_h, in_rows,
                            slab + c * ${PLANES} * plane + image * image_rows * pitch, plane, pitch, slab_rows, y0 * ${SIY} + base_y,
                            column0 - base_x, column1 - column0, blocks_of_rows > 1);
        // ---- dy, and zeros after its last element
        for (int k = 0; k < channels; k++) {
            for (int image = 0; image < some; image++) {
                const __global ${AT} *from = given + g_offset + (n0 + image) * g_n + (g * k_count + k0 + k) * g_c + y0 * g_h;
                __local ${T} *to = padded + k * padded_length + image * image_rows * pitch;
                KERNEL_copy(from, g_h, to, pitch, out_columns, rows);
            }
            vec_store${W}((${TW})(0), padded + k * padded_length + length);
        }
        // ---- the products
        for (int c = 0; c < c_count; c++) {
            const __local ${T} *p = slab + c * ${PLANES} * plane;
% for i, chunk in enumerate(chunks):
            {
                __local ${TW} *sum = sums + (c * ${len(taps)} + ${i * NT}) * ${MK};
                ${TW} ${", ".join(f"c{t}_{m} = sum[{j * MK + m}]" for j, (t, *_) in enumerate(chunk) for m in range(MK))};
                for (int f = 0; f < length; f += ${W}) {
% for m in range(MK):
                    const ${TW} d${m} = vec_load${W}(padded + ${m} * padded_length + f);
% endfor
% for t, place, row, column in chunk:
                    { const ${TW} v = vec_load${W}(p + f + place${place}_${row} + ${column});
% for m in range(MK):
                    c${t}_${m} += d${m} * v;
% endfor
                    }
% endfor
                }
% for j, (t, *_) in enumerate(chunk):
% for m in range(MK):
                sum[${j * MK + m}] = c${t}_${m};
% endfor
% endfor
            }
% endfor
        }
    }
    // ---- lanes added, finished and stored
    for (int m = 0; m < channels; m++)
        for (int c0 = 0; c0 < c_count; c0++)
            for (int y = 0; y < ${R}; y++)
                for (int s = 0; s < ${S}; s++) {
                    const __local ${T} *lane = (const __local ${T} *)(sums + (c0 * ${len(taps)} + y * ${S} + s) * ${MK} + m);
                    ${T} value = 0;
                    for (int i = 0; i < ${W}; i++) value += lane[i];
                    const int n = g * k_count + k0 + m;
                    ${store[1]}
                }
    }
}
