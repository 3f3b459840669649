<%doc>
Adds the partial results of `parts` work-groups, element by element in a fixed order, and finishes them with the epilogue.

Algorithm. A work-item takes `grain` consecutive elements of the output in C order; the parts lie `elements` apart in scratch. At W lanes
where every operand of the epilogue is contiguous, else one by one with the element's place computed by division.
Launch: global ceil(elements / grain). Traffic: parts + 1 times the output.
</%doc>
__kernel __attribute__((reqd_work_group_size(${LOCAL}, 1, 1)${f", vec_type_hint({T}4)" if LOCAL == 1 else ""}))
void KERNEL(const __global ${T} *restrict partial${epilogue_parameters}, const int parts, const ${INDEX} elements, const int grain,
            const int d1, const int d2, const int d3)
{
    const ${INDEX} first = get_global_id(0) * (${INDEX})grain;
    const ${INDEX} last = first + grain < elements ? first + grain : elements;
    ${INDEX} at = first;
% if W > 1:
    for (; at + ${W} <= last; at += ${W}) {
        ${T}${W} value = vec_load${W}(partial + at);
        for (int i = 1; i < parts; i++) value += vec_load${W}(partial + i * elements + at);
        const ${INDEX} x = at;
        ${store[W]}
    }
% endif
    for (; at < last; at++) {
        ${T} value = partial[at];
        for (int i = 1; i < parts; i++) value += partial[i * elements + at];
% if FLAT:
        const ${INDEX} x = at;
% else:
        const int x = at % d3, y = at / d3 % d2, c = at / d3 / d2 % d1, n = at / d3 / d2 / d1;
% endif
        ${store[1]}
    }
}
