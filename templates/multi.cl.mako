<%doc>
Many independent flat pointwise programs of one kind in one launch (horizontal merging).

Slot b owns the work-groups end_{b-1} .. end_b - 1; a group finds its slot by a chain of comparisons and takes one chunk of it.
CPU class: a group is one work-item and walks its chunk in vectors. GPU class: the items of a group stride through the chunk.
Memory traffic: each operand once.
</%doc>\
<%!
def lines(block, indent):
    return ("\n" + indent).join(block)
%>\
__kernel __attribute__((reqd_work_group_size(${local_size}, 1, 1)))
void KERNEL(${", ".join(parameters)}) {
  const int group = (int)get_group_id(0);
% for kind, name in select:
  ${kind}${name} = ${name}_0${f" + {name}_0_x" if offsets else ""};
% endfor
  ${I} n = n_0;
  int first = 0;
% for slot in range(slots - 1, 0, -1):
  ${"" if slot == slots - 1 else "else "}if (group >= end_${slot - 1}) {
% for kind, name in select:
    ${name} = ${name}_${slot}${f" + {name}_{slot}_x" if offsets else ""};
% endfor
    n = n_${slot};
    first = end_${slot - 1};
  }
% endfor
% for kind, name, source in same:
  ${kind}${name} = ${source};
% endfor
  const ${I} begin = (${I})(group - first) * chunk;
  const ${I} end = n - begin < chunk ? n : begin + chunk;
% if gpu:
  for (${I} j = begin + (${I})get_local_id(0) * ${W}; j < end; j += ${local_size * W}) {
    if (j + ${W} <= end) {
      ${lines(vector, "      ")}
    } else {
      for (${I} k = j; k < end; ++k) {
        ${lines(scalar, "        ")}
      }
    }
  }
% else:
  ${I} j = begin;
  for (; j + ${W} <= end; j += ${W}) {
    ${lines(vector, "    ")}
  }
  for (${I} k = j; k < end; ++k) {
    ${lines(scalar, "    ")}
  }
% endif
}
