## Cholesky's factorization A = L L^T of a batch of symmetric positive definite n x n matrices, of which the lower triangle is read.
##
## Left-looking, column by column: what the columns before contribute to an element is a dot product of two rows of L, in vectors.
## Where the rest of the diagonal is not positive, info is the (1-based) column, and the columns from there on keep A's values.
## CPU class: a work-group is one work-item and takes `per_group` matrices. GPU class: the items of a group share the rows.
## Source: Golub and Van Loan, Matrix Computations, 4.2.
<% SYNC = "barrier(CLK_GLOBAL_MEM_FENCE);" if group > 1 else "" %>
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  const ${I} item = (${I})get_local_id(0), first = (${I})get_group_id(0) * per_group;
  const ${I} last = first + per_group < matrices ? first + per_group : matrices;
  for (${I} matrix = first; matrix < last; ++matrix) {
    __global ${R} *l = y + matrix * n * n;
    for (${I} i = item; i < n; i += ${group}) {
      for (${I} c = 0; c < n; ++c) l[i * n + c] = c > i ? (${R})0 : x[x_offset + (matrix * n + i) * n + c];
    }
    ${SYNC}
    int failed = 0;
    for (${I} j = 0; j < n && !failed; ++j) {
      ${R} rest = l[j * n + j];
      for (${I} p = 0; p < j; ++p) rest -= l[j * n + p] * l[j * n + p];
      ${SYNC}
      if (!(rest > (${R})0)) {
        failed = (int)j + 1;
      } else {
        const ${R} root = sqrt(rest);
        for (${I} i = j + item; i < n; i += ${group}) {
          if (i == j) {
            l[j * n + j] = root;
          } else {
            ${R} dot = (${R})0;
            ${I} p = 0;
% if lanes > 1:
            ${R}${lanes} sums = (${R}${lanes})0;
            for (; p + ${lanes} <= j; p += ${lanes}) sums += vec_load${lanes}(l + i * n + p) * vec_load${lanes}(l + j * n + p);
            dot = ${" + ".join(f"sums.s{'0123456789abcdef'[i]}" for i in range(lanes))};
% endif
            for (; p < j; ++p) dot += l[i * n + p] * l[j * n + p];
            l[i * n + j] = (l[i * n + j] - dot) / root;
          }
        }
      }
      ${SYNC}
    }
    if (item == 0) info[matrix] = failed;
  }
}
