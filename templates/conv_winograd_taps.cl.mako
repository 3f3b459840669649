<%doc>
Part of two kernels: `count` channels of the taps from channel q0 on, packed and transformed.

First [q][tap][NK * W] in `pack`, transposed in registers as conv_channels does it; then G g G^T, vectors along the
channels m that the kernel gives, to `to_taps` as [frequency][q][NK] with `taps_plane` vectors between frequencies.
FLIP turns the taps by half a turn, for backward-data.
</%doc>
<%
M, X, TW = NK * W, A * A, f"{T}{W}"
runs = "1" if RUN else "count"
length = "count * 9" if RUN else "9"
turn = wload.replace("vec_load", "").replace("load", "")
%>
{
    for (int run = 0; run < ${runs}; run++)
        for (int k = 0; k < ${NK}; k++) {
            const ${INDEX} from = (q0 + run) * w_q + k * ${W} * w_m;
            const int rows = m_count - m0 - k * ${W};
            __local ${TW} *to = pack + run * ${9 * NK} + k;
% if not RUN:
            if (rows >= ${W}) {
                const __global ${WT} *p = w_block + from;
                ${turn}transpose_strip${W}(p, w_m, to, ${NK});
                ${turn}transpose_strip${W}(p + 4, w_m, to + ${4 * NK}, ${NK});
                ${turn}transpose_strip${W}(p + 5, w_m, to + ${5 * NK}, ${NK});
                continue;
            }
% endif
            for (int e = 0; e < ${length}; e += ${W}) {
                const int left = ${length} - e < ${W} ? ${length} - e : ${W};
                if (rows >= ${W} && from + ${W - 1} * w_m + e + ${W} <= w_left) {
                    ${turn}transpose${W}(w_block + from + e, w_m, to + e * ${NK}, ${NK});
                } else {
                    for (int i = 0; i < left; i++) {
                        __local ${T} *lane = (__local ${T} *)(to + (e + i) * ${NK});
                        for (int m = 0; m < ${W}; m++)
                            lane[m] = m < rows ? ${wload}1(w_block + from + m * w_m + e + i) : 0;
                    }
                }
            }
        }
    for (int i = 0; i < count * ${NK}; i++) {
% if FETCH and not CHUNKED:
% for f in range(X):
        PREFETCH_WRITE(to_taps + ${f} * taps_plane + i + ${2 * NK});
% endfor
% endif
        const __local ${TW} *g = pack + i / ${NK} * ${9 * NK} + i % ${NK};
${spread}
% for i in range(A):
% for j in range(A):
        to_taps[${i * A + j} * taps_plane + i] = u${i}_${j};
% endfor
% endfor
    }
}
