<%doc>
Gradient of the weight of a convolution, with the vector along OUTPUT CHANNELS k.

  dw[k, c, r, s] = sum n,y,x  dy[n, k, y, x] * x[n, c, y*SY - PY + r*DY, x*SX - PX + s*DX]

Algorithm. One work-item is one work-group. It owns NK*W channels k, `chunk` input channels c of one conv group, and some items; an item
is some output rows of some images. Per item dy is transposed in registers into local memory as [pixel][NK*W] and the input rows are
copied, zero-padded, into the slab [image][c][row][column], or read where they lie if nothing is padded (DIRECT). A tile is TC channels x TR x TS taps x NK vectors of accumulators; per
pixel NK aligned vector loads, TC*TR*TS broadcasts, TC*TR*TS*NK multiply-adds. The sums stay in local memory as [c][tap][NK*W] until
the last item and are transposed back when they are stored: by the epilogue, or, where several parts share an output, into
scratch [part][k][c][tap], which conv_reduce adds up in a fixed order.

Launch: global (blocks * parts), local 1. Traffic: dy once per block of c, x once per block of k.
</%doc>
<%
M = NK * W
TW = f"{T}{W}"
SPACE = "__global" if DIRECT else "__local"
shorter = [v for v in (8, 4) if v < W]
places = [(i, j, s) for i in range(TC) for j in range(TR) for s in range(TS)]
def acc(place, k):
    return f"c{place[0]}_{place[1]}_{place[2]}_{k}"
def at(place, k):
    return f"to[({place[0]} * {R * S} + {place[1] * S + place[2]}) * {NK} + {k}]"
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${AT} *restrict given, const __global ${BT} *restrict in${epilogue_parameters},
            __local ${T} *slab, __local ${TW} *turned, __local ${TW} *sums,
            const int k_blocks, const int c_blocks, const int k_count, const int c_count,
            const ${INDEX} g_offset, const ${INDEX} g_n, const ${INDEX} g_c, const int g_h,
            const ${INDEX} in_offset, const ${INDEX} in_n, const ${INDEX} in_c, const int in_h, const int in_rows, const int in_columns,
            const int images, const int out_rows, const int out_columns,
            const int items, const int items_per_part, const int blocks_of_rows, const int rows_per_block, const int images_per_item,
            const int pitch, const int slab_rows, const int chunk, const int base_y, const int base_x, const int all_blocks,
            const int dilation)
{
    const int block = get_global_id(0) % all_blocks, part = get_global_id(0) / all_blocks;
    const int c0 = block % c_blocks * chunk, k0 = block / c_blocks % k_blocks * ${M}, g = block / c_blocks / k_blocks;
    const int count = c_count - c0 < chunk ? c_count - c0 : chunk;
    const int held = (chunk + ${TC - 1}) / ${TC} * ${TC};
    const int last = (part + 1) * items_per_part < items ? (part + 1) * items_per_part : items;
% if not DIRECT:
    const int plane = slab_rows * pitch;
    const int column0 = base_x > 0 ? base_x : 0;
    const int column1 = in_columns < base_x + pitch ? in_columns : base_x + pitch;
    for (int i = 0; i < images_per_item * held; i++)
        for (int j = 0; j < plane; j++) slab[i * plane + j] = 0;
% endif
    for (int i = 0; i < held * ${R * S * NK}; i++) sums[i] = 0;

    for (int item = part * items_per_part; item < last; item++) {
        const int n0 = item / blocks_of_rows * images_per_item, y0 = item % blocks_of_rows * rows_per_block;
        const int rows = out_rows - y0 < rows_per_block ? out_rows - y0 : rows_per_block;
        const int some = images - n0 < images_per_item ? images - n0 : images_per_item;
        const int pixels = rows * out_columns;
        for (int n = 0; n < some; n++) {
            // ---- dy as [pixel][k]
            const __global ${AT} *image = given + g_offset + (n0 + n) * g_n + (g * k_count + k0) * g_c + y0 * g_h;
            const int whole = g_h == out_columns;
            const int lines = whole ? 1 : rows, length = whole ? pixels : out_columns;
            for (int k = 0; k < ${NK}; k++)
                for (int line = 0; line < lines; line++) {
                    const int channels = k_count - k0 - k * ${W};
                    const __global ${AT} *from = image + k * ${W} * g_c + line * g_h;
                    __local ${TW} *to = turned + (n * pixels + line * out_columns) * ${NK} + k;
                    for (int x = 0; x < length; x += ${W}) {
                        if (x + ${W} > length && length >= ${W}) x = length - ${W};
                        if (channels >= ${W} && length >= ${W}) {
                            ${aload.replace("vec_load", "").replace("load", "")}transpose${W}(from + x, g_c, to + x * ${NK}, ${NK});
                        } else {
                            const int end = x + ${W} < length ? x + ${W} : length;
                            for (int i = x; i < end; i++) {
                                __local ${T} *lane = (__local ${T} *)(to + i * ${NK});
                                for (int m = 0; m < ${W}; m++) lane[m] = m < channels ? ${aload}1(from + m * g_c + i) : 0;
                            }
                        }
                    }
                }
% if not DIRECT:
            // ---- the slab: rows of the input channels, zero where they lie outside the image
            const __global ${BT} *source = in + in_offset + (n0 + n) * in_n + (g * c_count + c0) * in_c;
            if (column1 > column0)
                for (int c = 0; c < count; c++)
                    for (int row = 0; row < slab_rows; row++) {
                        const int y = y0 * ${SY} + base_y + row;
                        __local ${T} *to = slab + (n * held + c) * plane + row * pitch + column0 - base_x;
                        const int length = column1 - column0;
                        int x = 0;
                        if (y >= 0 && y < in_rows) {
                            const __global ${BT} *from = source + c * in_c + y * in_h + column0;
                            for (; x + ${W} <= length; x += ${W}) vec_store${W}(${bload}${W}(from + x), to + x);
% for v in shorter:
                            if (x + ${v} <= length) { vec_store${v}(${bload}${v}(from + x), to + x); x += ${v}; }
% endfor
                            for (; x < length; x++) to[x] = ${bload}1(from + x);
                        } else {
                            for (; x + ${W} <= length; x += ${W}) vec_store${W}((${TW})(0), to + x);
                            for (; x < length; x++) to[x] = 0;
                        }
                    }
% endif
        }
% if DIRECT:
        const __global ${T} *source = in + in_offset + n0 * in_n + (g * c_count + c0) * in_c + (y0 * ${SY} + base_y) * in_h + base_x;
        const ${INDEX} plane = in_c, image_step = in_n;
% else:
        const __local ${T} *source = slab;
        const int image_step = held * plane;
% endif
        // ---- tiles. The distance of tap columns is no constant in this text: compilers that see that a pixel is read again one
        // iteration later carry it over in a register, and run out of registers.
        const long apart = dilation;
        for (int c = 0; c < count; c += ${TC}) {
% if TR < R:
            for (int r = 0; r < ${R}; r += ${TR}) {
% else:
            { const int r = 0;
% endif
% if TS < S:
            for (int s = 0; s < ${S}; s += ${TS}) {
% else:
            { const int s = 0;
% endif
                __local ${TW} *to = sums + (c * ${R * S} + r * ${S} + s) * ${NK};
                // from zero, and added to the sums once per item: sums of sums lose less than one over all pixels
                ${TW} ${", ".join(f"{acc(p, k)} = 0" for p in places for k in range(NK))};
                for (int n = 0; n < some; n++)
                    for (int y = 0; y < rows; y++) {
                        const __local ${TW} *w = turned + (n * pixels + y * out_columns) * ${NK};
                        const ${SPACE} ${T} *p = source + n * image_step + c * plane + (y * ${SY} + r * ${DY}) * pitch + s * dilation;
% for i in range(TC):
% for j in range(TR):
                        const ${SPACE} ${T} *p${i}_${j} = p + ${f"(c + {i} < count ? {i} : 0)" if DIRECT and i else i} * plane + ${j * DY} * pitch;
% endfor
% endfor
                        for (int x = 0; x < out_columns; x++) {
% for k in range(NK):
                            const ${TW} w${k} = w[x * ${NK} + ${k}];
% endfor
% for place in places:
                            { const ${T} v = p${place[0]}_${place[1]}[x * ${SX} + ${place[2]} * apart];
% for k in range(NK):
                            ${acc(place, k)} += w${k} * v;
% endfor
                            }
% endfor
                        }
                    }
% for place in places:
% for k in range(NK):
                ${at(place, k)} += ${acc(place, k)};
% endfor
% endfor
            }
            }
        }
    }
    // ---- transposed back to [k][c][tap], finished and stored
    __local ${T} *lines = (__local ${T} *)turned;
    const int length = count * ${R * S};
    for (int k = 0; k < ${NK}; k++) {
        const int channels = k_count - k0 - k * ${W} < ${W} ? k_count - k0 - k * ${W} : ${W};
        for (int x0 = 0; x0 < length; x0 += ${W}) {
            const __local ${TW} *from = sums + x0 * ${NK} + k;
            transpose${W}((const __local ${T} *)from, ${NK * W}, (__local ${TW} *)lines, 1);
            for (int i = 0; i < channels; i++) {
                const int n = g * k_count + k0 + k * ${W} + i;
                const __local ${T} *line = lines + i * ${W} - x0;
                int x = x0;
                if (x + ${W} <= length) {
                    const ${TW} value = vec_load${W}(line + x);
                    ${store[W]}
                } else {
% if W > 4:
                    for (; x + 4 <= length; x += 4) {
                        const ${T}4 value = vec_load4(line + x);
                        ${store[4]}
                    }
% endif
                    for (; x < length; x++) {
                        const ${T} value = line[x];
                        ${store[1]}
                    }
                }
            }
        }
    }
}
