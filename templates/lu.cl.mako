## LU factorization with partial pivoting, P A = L U, of a batch of m x n matrices; contiguous, row by row.
##
## Right-looking Gaussian elimination: for each column the largest element at or below the diagonal is swapped up, and what
## is left of every row below gets its multiple of the pivot's row subtracted, in vectors along the row.
## CPU class: a work-group is one work-item and takes `per_group` matrices. GPU class: the items of a group share a matrix's
## rows; every item looks for the pivot itself, which costs reads but no exchange.
## Traffic: the rest of the matrix once per column. Source: Golub and Van Loan, Matrix Computations, 3.4.
<% SYNC = "barrier(CLK_GLOBAL_MEM_FENCE);" if group > 1 else "" %>
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  const ${I} item = (${I})get_local_id(0), first = (${I})get_group_id(0) * per_group;
  const ${I} last = first + per_group < matrices ? first + per_group : matrices;
  const ${I} steps = m < n ? m : n;
  for (${I} matrix = first; matrix < last; ++matrix) {
    __global ${R} *a = y + matrix * m * n;
    for (${I} i = item; i < m * n; i += ${group}) a[i] = x[x_offset + matrix * m * n + i];
    ${SYNC}
    int failed = 0;
    for (${I} j = 0; j < steps; ++j) {
      ${R} best = fabs(a[j * n + j]);
      ${I} at = j;
      for (${I} i = j + 1; i < m; ++i) {
        const ${R} size = fabs(a[i * n + j]);
        if (size > best) { best = size; at = i; }
      }
      ${SYNC}
      if (item == 0) pivots[matrix * steps + j] = (int)at + 1;
      if (at != j) {
        for (${I} c = item; c < n; c += ${group}) {
          const ${R} held = a[j * n + c];
          a[j * n + c] = a[at * n + c];
          a[at * n + c] = held;
        }
      }
      ${SYNC}
      const ${R} pivot = a[j * n + j];
      if (pivot == (${R})0) {
        if (!failed) failed = (int)j + 1;
      } else {
        __global const ${R} *top = a + j * n;
        for (${I} i = j + 1 + item; i < m; i += ${group}) {
          __global ${R} *row = a + i * n;
          const ${R} factor = row[j] / pivot;
          row[j] = factor;
          ${I} c = j + 1;
% if lanes > 1:
          for (; c + ${lanes} <= n; c += ${lanes}) {
            vec_store${lanes}(vec_load${lanes}(row + c) - factor * vec_load${lanes}(top + c), row + c);
          }
% endif
          for (; c < n; ++c) row[c] -= factor * top[c];
        }
      }
      ${SYNC}
    }
    if (item == 0) info[matrix] = failed;
  }
}
