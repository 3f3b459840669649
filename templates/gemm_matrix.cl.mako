## Matrix product of 16-bit floats on GPUs with a matrix instruction: a work-group of WY x WX warps computes a tile of BM x BN
## of C, each warp TM x TN fragments, from slices of BK of A and B that all items load together into local memory.
##
## Launch: (n tiles * items, m tiles, batch x split) items of (items, 1, 1), `shape.lanes` to a warp. Tiles are taken in strips
## of `strip` rows of tiles, column by column, so that groups that run together share what they read. Slices keep K innermost,
## two elements to a uint, rows PITCH uints apart: BK / 2 and 4 of padding, so that the lanes of a fragment's load meet 32 banks
## and rows stay aligned to 16 bytes. Loads run along whichever dimension of an operand is contiguous, VA or VB elements at a
## time (1, or 2, 4 or 8 where every row starts at a multiple of them). Outside the matrices slices hold zeros. Sums are float.
## Loops over fragments are unrolled: otherwise the sums go to memory.
## The instruction, and who holds what, are functions of kernels/matrix_<family>.cl. Memory traffic: A once per n tile, B once
## per m tile.
## Source: NVIDIA, CUDA C++ Best Practices Guide, shared memory in matrix multiplication; the instructions' in their files.
<%
    rows, columns, lanes = shape.rows, shape.columns, shape.lanes
    BM, BN, items = WY * TM * rows, WX * TN * columns, WY * WX * lanes
    PITCH = BK // 2 + 4
    EXCHANGE = lanes * (shape.a + shape.b)
    room = f"exchange + warp * {EXCHANGE}" if emulated else "(__local uint *)0"
    digits = "0123456789abcdef"
%>\
<%def name="slice(name, P, at0, rows, size, step_row, step_k, along_k, V)">\
    for (int at = item; at < ${rows * BK // V}; at += ${items}) {
% if along_k:
      const int i = at / ${BK // V}, k = (at - i * ${BK // V}) * ${V};
% elif V > 1:
      const int i = at / ${BK} * ${V}, k = at % ${BK};
% else:
      const int k = at / ${rows}, i = at - k * ${rows};
% endif
% if V == 1:
      const int inside = ${at0} + i < ${size} && k0 + k < k_end;
      ((__local ushort *)${name})[i * ${2 * PITCH} + k] = inside ? ${P}[inside ? (${at0} + i) * ${step_row} + (k0 + k) * ${step_k} : 0] : (ushort)0;
% else:
<%
    i_most, k_most = (0, V - 1) if along_k else (V - 1, 0)
    vector = f"ushort{V}"
%>\
      ${vector} values = 0;
      if (${at0} + i + ${i_most} < ${size} && k0 + k + ${k_most} < k_end) {
        values = *(const __global ${vector} *)(${P} + (${at0} + i) * ${step_row} + (k0 + k) * ${step_k});
      } else {
% for e in range(V):
<%
    di, dk = (0, e) if along_k else (e, 0)
%>\
        if (${at0} + i + ${di} < ${size} && k0 + k + ${dk} < k_end) values.s${digits[e]} = ${P}[(${at0} + i + ${di}) * ${step_row} + (k0 + k + ${dk}) * ${step_k}];
% endfor
      }
% if along_k:
      *(__local ${vector} *)((__local ushort *)${name} + i * ${2 * PITCH} + k) = values;
% else:
% for e in range(V):
      ((__local ushort *)${name})[(i + ${e}) * ${2 * PITCH} + k] = values.s${digits[e]};
% endfor
% endif
% endif
    }
</%def>\
__attribute__((reqd_work_group_size(${items}, 1, 1))) ${family}_attribute
__kernel void KERNEL(${parameters}) {
  __local uint slice_a[${BM * PITCH}] __attribute__((aligned(16))), slice_b[${BN * PITCH}] __attribute__((aligned(16)));
% if emulated:
  __local uint exchange[${WY * WX * EXCHANGE}];
% endif
  I batch = get_group_id(2);
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
${setup}
  const int item = get_local_id(0), warp = ${family}_warp(item), lane = ${family}_lane(item);
  const int warp_m = warp / ${WX} * ${TM * rows}, warp_n = warp % ${WX} * ${TN * columns};
  const I across = get_num_groups(0), down = get_num_groups(1), number = (I)get_group_id(1) * across + get_group_id(0);
  const I strip_start = number / (strip * across) * strip, in_strip = number - strip_start * across;
  const I high = down - strip_start < strip ? down - strip_start : strip, n_tile = in_strip / high;
  const I m0 = (strip_start + in_strip - n_tile * high) * ${BM}, n0 = n_tile * ${BN};
  float c[${TM}][${TN}][${shape.sums}];
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) {
#pragma unroll
      for (int e = 0; e < ${shape.sums}; ++e) c[i][j][e] = 0.0f;
    }
  }
  for (I k0 = k_begin; k0 < k_end; k0 += ${BK}) {
${slice("slice_a", "A", "m0", BM, "M", "a_m", "a_k", a_along_k, VA)}\
${slice("slice_b", "B", "n0", BN, "N", "b_n", "b_k", b_along_k, VB)}\
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int s = 0; s < ${BK // 2}; s += 8) {
      uint a[${TM}][${shape.a}];
#pragma unroll
      for (int i = 0; i < ${TM}; ++i) ${family}_load_a(a[i], slice_a + (warp_m + i * ${rows}) * ${PITCH} + s, ${PITCH}, lane);
#pragma unroll
      for (int j = 0; j < ${TN}; ++j) {
        uint b[${shape.b}];
        ${family}_load_b(b, slice_b + (warp_n + j * ${columns}) * ${PITCH} + s, ${PITCH}, lane);
#pragma unroll
        for (int i = 0; i < ${TM}; ++i) ${family}_product_${element}(c[i][j], a[i], b, ${room}, lane);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
#pragma unroll
  for (int i = 0; i < ${TM}; ++i) {
#pragma unroll
    for (int j = 0; j < ${TN}; ++j) {
#pragma unroll
      for (int e = 0; e < ${shape.sums}; ++e) {
        const I row = m0 + warp_m + i * ${rows} + ${family}_row(lane, e);
        const I column = n0 + warp_n + j * ${columns} + ${family}_column(lane, e);
        if (row < M && column < N) {
          const float sum = c[i][j][e];
${finish(1)}
        }
      }
    }
  }
}
