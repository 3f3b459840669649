## Householder reflections of a batch of m x n matrices: the QR factorization (`factor`) and the product of its reflections.
##
## factor   y holds R on and above the diagonal and below it the reflections H_j = I - tau_j v_j v_j^T, v_j = (0 … 0, 1, y[j+1:, j]),
##          as LAPACK's geqrf lays them out.
## product  y = H_0 … H_{k-1} times the first n columns of the identity, as LAPACK's orgqr gives it.
##
## A column of the rest (or a vector of `lanes` neighbouring ones) is reflected by one work-item, which goes down it twice; so items
## meet only between columns of `factor`. CPU class: one work-item per group; `factor` takes `per_group` matrices, `product` a Split
## of walk.py. GPU class: items share columns; in `factor` each computes the norm itself.
## Source: Golub and Van Loan, Matrix Computations, 5.1 and 5.2.
<%def name="reflect(w, reflection)"><% RW = R if w == 1 else f"{R}{w}" %>
          ${RW} sum = vec_load${w}((__global const ${R} *)q + j * n + c);
          for (${I} i = j + 1; i < m; ++i) sum += ${reflection}[i * from + j] * vec_load${w}((__global const ${R} *)q + i * n + c);
          sum *= tau;
          vec_store${w}(vec_load${w}((__global const ${R} *)q + j * n + c) - sum, q + j * n + c);
          for (${I} i = j + 1; i < m; ++i) {
            vec_store${w}(vec_load${w}((__global const ${R} *)q + i * n + c) - ${reflection}[i * from + j] * sum, q + i * n + c);
          }
</%def>
<% SYNC = "barrier(CLK_GLOBAL_MEM_FENCE);" if group > 1 else "" %>
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
% if stage == "factor":
  const ${I} item = (${I})get_local_id(0), first = (${I})get_group_id(0) * per_group;
  const ${I} last = first + per_group < matrices ? first + per_group : matrices;
  const ${I} steps = m < n ? m : n, from = n;
  for (${I} matrix = first; matrix < last; ++matrix) {
    __global ${R} *q = y + matrix * m * n;
    for (${I} i = item; i < m * n; i += ${group}) q[i] = x[x_offset + matrix * m * n + i];
    ${SYNC}
    for (${I} j = 0; j < steps; ++j) {
      ${R} largest = (${R})0, squares = (${R})0;
      for (${I} i = j + 1; i < m; ++i) largest = fmax(largest, fabs(q[i * n + j]));
      const ${R} alpha = q[j * n + j], unit = fmax(largest, fabs(alpha));
      ${R} tau = (${R})0, beta = alpha, scale = (${R})1;
      if (largest > (${R})0) {
        for (${I} i = j + 1; i < m; ++i) {
          const ${R} part = q[i * n + j] / unit;
          squares += part * part;
        }
        beta = -copysign(unit * sqrt(squares + alpha / unit * (alpha / unit)), alpha);
        tau = (beta - alpha) / beta;
        scale = (${R})1 / (alpha - beta);
      }
      ${SYNC}
      for (${I} i = j + 1 + item; i < m; i += ${group}) q[i * n + j] *= scale;
      if (item == 0) {
        q[j * n + j] = beta;
        taus[matrix * steps + j] = tau;
      }
      ${SYNC}
      if (tau != (${R})0) {
        ${I} c = j + 1 + item * ${lanes};
% if lanes > 1:
        for (; c + ${lanes} <= n; c += ${lanes}) { ${reflect(lanes, "q")} }
% endif
        for (; c < n; c += ${group}) { ${reflect(1, "q")} }
      }
      ${SYNC}
    }
  }
% else:
  ${span}
  const ${I} from = given;
  for (${I} row = row_begin; row < row_end; row++) {
    __global const ${R} *v = x + x_offset + row * m * given;
    __global const ${R} *tau_of = taus + taus_offset + row * reflections;
    __global ${R} *q = y + row * m * n;
    for (${I} i = 0; i < m; ++i) {
      for (${I} c = begin; c < end; ++c) q[i * n + c] = i == c ? (${R})1 : (${R})0;
    }
    for (${I} j = reflections - 1; j >= 0; --j) {
      const ${R} tau = tau_of[j];
      ${I} c = begin;
% if lanes > 1:
      for (; c + ${lanes} <= end; c += ${lanes}) { ${reflect(lanes, "v")} }
% endif
      for (; c < end; ++c) { ${reflect(1, "v")} }
    }
  }
% endif
}
