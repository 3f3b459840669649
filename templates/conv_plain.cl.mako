<%doc>
Direct convolution by plain loops with bounds checks: correct for every size, stride, dilation and group count, on every device. Used
where no other form fits (a row too long for local memory), and as the reference the other forms are tested against.

Algorithm. A work-item takes `grain` consecutive elements of the output in C order and sums each one's products in a register.
  forward        y[n,m,oy,ox]  = sum q,r,s  x[n,q,oy*SY-PY+r*DY, ox*SX-PX+s*DX] * w[m,q,r,s]
  input          dx[n,m,oy,ox] = sum q,r,s  dy[n,q,(oy+PY-r*DY)/SY, (ox+PX-s*DX)/SX] * w[q,m,r,s]   where the divisions are exact
  weight         dw[k,c,r,s]   = sum n,y,x  dy[n,k,y,x] * x[n,c,y*SY-PY+r*DY, x*SX-PX+s*DX]
Launch: global ceil(elements / grain) rounded to the group. Traffic: whatever the caches do not keep.
</%doc>
__kernel __attribute__((reqd_work_group_size(${LOCAL}, 1, 1)${f", vec_type_hint({T}4)" if LOCAL == 1 else ""}))
void KERNEL(const __global ${AT} *restrict a, const __global ${BT} *restrict b${epilogue_parameters},
            const ${INDEX} a_offset, const ${INDEX} a_n, const ${INDEX} a_c, const ${INDEX} a_h, const int a_rows, const int a_columns,
            const ${INDEX} b_offset, const ${INDEX} b_0, const ${INDEX} b_1, const ${INDEX} b_2,
            const int d0, const int d1, const int d2, const int d3, const int images, const int q_count, const int per_group,
            const int R, const int S, const int SY, const int SX, const int PY, const int PX, const int DY, const int DX,
            const ${INDEX} elements, const int grain)
{
    const ${INDEX} first = get_global_id(0) * (${INDEX})grain;
    for (int count = 0; count < grain; count++) {
        const ${INDEX} element = first + count;
        if (element >= elements) break;
        const int x = element % d3, y = element / d3 % d2, c = element / d3 / d2 % d1, n = element / d3 / d2 / d1;
        ${T} value = 0;
% if DIRECTION == "weight":
        // n: output channel k; c: input channel within its group; y, x: tap. a: x, b: dy (rows b_2 apart)
        const int channel = n / per_group * d1 + c;
        for (int image = 0; image < images; image++)
            for (int oy = 0; oy < R; oy++) {
                const int iy = oy * SY - PY + y * DY;
                if (iy < 0 || iy >= a_rows) continue;
                const __global ${AT} *p = a + a_offset + image * a_n + channel * a_c + iy * a_h;
                const __global ${BT} *w = b + b_offset + image * b_0 + n * b_1 + oy * b_2;
                for (int ox = 0; ox < S; ox++) {
                    const int ix = ox * SX - PX + x * DX;
                    if (ix >= 0 && ix < a_columns) value += ${aload}(p + ix) * ${bload}(w + ox);
                }
            }
% else:
        // c: output channel; q: reduction channel; b_0, b_1: steps of the weight per output and per reduction channel; b_2: per group
        const int g = c / per_group;
        for (int q = 0; q < q_count; q++)
            for (int r = 0; r < R; r++) {
% if DIRECTION == "forward":
                const int iy = y * SY - PY + r * DY;
                if (iy < 0 || iy >= a_rows) continue;
% else:
                int iy = y + PY - r * DY;
                if (iy < 0 || iy % SY != 0) continue;
                iy /= SY;
                if (iy >= a_rows) continue;
% endif
                const __global ${AT} *p = a + a_offset + n * a_n + (g * q_count + q) * a_c + iy * a_h;
                const __global ${BT} *w = b + b_offset + g * b_2 + (c - g * per_group) * b_0 + q * b_1 + r * S;
                for (int s = 0; s < S; s++) {
% if DIRECTION == "forward":
                    const int ix = x * SX - PX + s * DX;
                    if (ix < 0 || ix >= a_columns) continue;
% else:
                    int ix = x + PX - s * DX;
                    if (ix < 0 || ix % SX != 0) continue;
                    ix /= SX;
                    if (ix >= a_columns) continue;
% endif
                    value += ${aload}(p + ix) * ${bload}(w + s);
                }
            }
% endif
        ${store[1]}
    }
}
