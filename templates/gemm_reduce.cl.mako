## Adds the parts of a product that was split along K, always in the same order, and finishes the sums.
##
## CPU: one work-item per work-group (n block, m block, batch), vectors along N. GPU: one element per work-item.
## Memory traffic: every part once.
<%
    V = vector_type
    widths = (1,) if gpu else (W, 1)
%>\
__attribute__((reqd_work_group_size(${items}, 1, 1)))
__kernel void KERNEL(${parameters}) {
  const I batch = get_group_id(2);
${setup}
  parts += batch * M * N;
% if gpu:
  const I column = get_global_id(0), row = get_group_id(1);
  if (column < N) {
    ${E} sum = parts[row * N + column];
    for (I piece = 1; piece < splits; ++piece) sum += parts[piece * part_step + row * N + column];
${finish(1)}
  }
% else:
  const I m0 = get_group_id(1) * mc, m1 = m0 + mc < M ? m0 + mc : M;
  const I n0 = get_group_id(0) * nc, n1 = n0 + nc < N ? n0 + nc : N;
  for (I row = m0; row < m1; ++row) {
    I column = n0;
% for w in widths:
    for (; column + ${w} <= n1; column += ${w}) {
      const __global ${E} *p = parts + row * N + column;
      ${V if w > 1 else E} sum = vec_load${w}(p);
      for (I piece = 1; piece < splits; ++piece) sum += vec_load${w}(p + piece * part_step);
${finish(w)}
    }
% endfor
  }
% endif
}
