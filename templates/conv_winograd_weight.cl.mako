<%doc>
Winograd's transform of 3x3 taps: U = G g G^T per pair of channels, ahead of conv_winograd.

One work-item is one work-group: NK * W channels m, a chunk of channels q. Result [m block][frequency][q][NK * W].

Launch: global (m blocks * chunks), local 1. Traffic: the weights once, the result (16 or 36)/9 times as much.
</%doc>
<%
TW = f"{T}{W}"
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${TW})))
void KERNEL(const __global ${WT} *restrict weight, __global ${TW} *restrict taps, __local ${TW} *pack,
            const int m_blocks, const int m_count, const int q_count, const int chunk,
            const ${INDEX} w_offset, const ${INDEX} w_m, const ${INDEX} w_q, const ${INDEX} w_end, const int taps_plane)
{
    const int block = get_global_id(0) % m_blocks, m0 = block * ${NK * W};
    const int q0 = get_global_id(0) / m_blocks * chunk, count = q_count - q0 < chunk ? q_count - q0 : chunk;
    const __global ${WT} *w_block = weight + w_offset + m0 * w_m;
    const ${INDEX} w_left = w_end - (w_offset + m0 * w_m);
    __global ${TW} *to_taps = taps + (long)block * ${A * A} * taps_plane + q0 * ${NK};
    ${transform}
}
