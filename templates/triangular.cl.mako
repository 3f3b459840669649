## X of T X = B for a batch of triangular n x n matrices T (upper or lower) and n x k right sides, by substitution.
##
## A work-item goes through the rows in order, with `lanes` neighbouring columns of B at a time: an element of T times a vector
## of what is solved already. T is read by its strides, so a transposed one costs no copy; `unit` takes its diagonal as ones.
## Geometry: Split of walk.py over matrices x columns. Traffic: T once per vector of columns, B and X once.
## Source: Golub and Van Loan, Matrix Computations, 3.1.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    __global const ${R} *t = a + a_offset + row * n * n;
    __global const ${R} *right = b + b_offset + row * n * k;
    __global ${R} *solved = y + row * n * k;
    ${I} j = begin;
% if lanes > 1:
    for (; j + ${lanes} <= end; j += ${lanes}) { ${column(lanes)} }
% endif
    for (; j < end; j++) { ${column(1)} }
  }
}
<%def name="column(w)"><% RW = R if w == 1 else f"{R}{w}" %>
      for (${I} s = 0; s < n; s++) {
        const ${I} i = ${"n - 1 - s" if upper else "s"};
        ${RW} sum = vec_load${w}(right + i * k + j);
        for (${I} q = 0; q < s; q++) {
          const ${I} p = ${"n - 1 - q" if upper else "q"};
          sum -= t[i * along_row + p * along_column] * vec_load${w}((__global const ${R} *)solved + p * k + j);
        }
% if not unit:
        sum /= t[i * along_row + i * along_column];
% endif
        vec_store${w}(sum, solved + i * k + j);
      }
</%def>
