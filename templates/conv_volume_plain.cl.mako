<%doc>
Convolution of volumes by plain loops with bounds checks: correct for every size, stride, dilation and group count, on every device.
Used where no other form fits, and as the reference the other forms are tested against.

Algorithm. A work-item takes `grain` consecutive elements of the output in C order and sums each one's products in a register.
  forward        y[n,m,o]  = sum q,t  x[n,q,o*S-P+t*D] * w[m,q,t]            o, t: places and taps, three numbers each
  input          dx[n,m,i] = sum q,t  dy[n,q,(i+P-t*D)/S] * w[q,m,t]         where the divisions are exact
  weight         dw[k,c,t] = sum n,o  dy[n,k,o] * x[n,c,o*S-P+t*D]
Launch: global ceil(elements / grain) rounded to the group. Traffic: whatever the caches do not keep.
</%doc>
<%
def reads(place, tap, axis, size):
    """Statements that compute i<axis>, or go on where there is nothing."""
    a, s, p, d = f"i{axis}", f"S{axis}", f"P{axis}", f"D{axis}"
    if DIRECTION == "input":
        return f"int {a} = {place} + {p} - {tap} * {d}; if ({a} < 0 || {a} % {s} != 0) continue; {a} /= {s}; if ({a} >= {size}) continue;"
    return f"const int {a} = {place} * {s} - {p} + {tap} * {d}; if ({a} < 0 || {a} >= {size}) continue;"
%>
__kernel __attribute__((reqd_work_group_size(${LOCAL}, 1, 1)${f", vec_type_hint({T}4)" if LOCAL == 1 else ""}))
void KERNEL(const __global ${AT} *restrict a, const __global ${BT} *restrict b${epilogue_parameters},
            const ${INDEX} a_offset, const ${INDEX} a_n, const ${INDEX} a_c, const ${INDEX} a_d, const ${INDEX} a_h,
            const int a_planes, const int a_rows, const int a_columns,
            const ${INDEX} b_offset, const ${INDEX} b_0, const ${INDEX} b_1, const ${INDEX} b_2, const ${INDEX} b_3,
            const int d1, const int d2, const int d3, const int d4, const int images, const int q_count, const int per_group,
            const int Q, const int R, const int S, const int Sz, const int Sy, const int Sx, const int Pz, const int Py, const int Px,
            const int Dz, const int Dy, const int Dx, const ${INDEX} elements, const int grain)
{
    const ${INDEX} first = get_global_id(0) * (${INDEX})grain;
    for (int count = 0; count < grain; count++) {
        const ${INDEX} element = first + count;
        if (element >= elements) break;
        const int x = element % d4, y = element / d4 % d3, z = element / d4 / d3 % d2;
        const int c = element / d4 / d3 / d2 % d1, n = element / d4 / d3 / d2 / d1;
        ${T} value = 0;
% if DIRECTION == "weight":
        // n: output channel; c: input channel within its group; z, y, x: tap. a: x; b: dy; Q, R, S: its planes, rows and columns
        const int channel = n / per_group * d1 + c;
        for (int image = 0; image < images; image++)
            for (int oz = 0; oz < Q; oz++) {
                ${reads("oz", "z", "z", "a_planes")}
                for (int oy = 0; oy < R; oy++) {
                    ${reads("oy", "y", "y", "a_rows")}
                    const __global ${AT} *p = a + a_offset + image * a_n + channel * a_c + iz * a_d + iy * a_h;
                    const __global ${BT} *w = b + b_offset + image * b_0 + n * b_1 + oz * b_2 + oy * b_3;
                    for (int ox = 0; ox < S; ox++) {
                        ${reads("ox", "x", "x", "a_columns")}
                        value += ${aload}(p + ix) * ${bload}(w + ox);
                    }
                }
            }
% else:
        // c: output channel; q: reduction channel; b_0, b_1: steps of the weight per output and per reduction channel; b_2: per group
        const int g = c / per_group;
        for (int q = 0; q < q_count; q++)
            for (int t = 0; t < Q; t++) {
                ${reads("z", "t", "z", "a_planes")}
                for (int r = 0; r < R; r++) {
                    ${reads("y", "r", "y", "a_rows")}
                    const __global ${AT} *p = a + a_offset + n * a_n + (g * q_count + q) * a_c + iz * a_d + iy * a_h;
                    const __global ${BT} *w = b + b_offset + g * b_2 + (c - g * per_group) * b_0 + q * b_1 + (t * R + r) * S;
                    for (int s = 0; s < S; s++) {
                        ${reads("x", "s", "x", "a_columns")}
                        value += ${aload}(p + ix) * ${bload}(w + s);
                    }
                }
            }
% endif
        ${store}
    }
}
