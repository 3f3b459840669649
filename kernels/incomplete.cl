// The regularised incomplete gamma functions, for float and double registers of any width; needs real.cl and normal.cl.
//
// s_gammainc(a, x), s_gammaincc(a, x)   P(a, x) and Q(a, x) = 1 - P: the smaller of the two is computed, by
//   Temme's uniform expansion (DLMF 8.12) for a >= 20 and |x - a| <= 0.3 a,
//   Legendre's continued fraction (DLMF 8.9.2, in Lentz' form) for x > max(a, 1.5),
//   Q's own series for a < 1, where Q may be small while P is nearly 1 (DLMF 8.7.1),
//   else P's series (DLMF 8.11.4).
// Values at the edges are PyTorch's: NaN for a < 0 or x < 0 or a = x = 0 or both infinite.

// Gamma(x), u = 2 x - 3, x in [1, 2]: 23 terms, error 2.9e-17
__constant REAL GAMMA_UNIT[] = {
    0.9417855977954946, 0.004415381324841007, 0.05685043681599363, -0.00421983539641856, 0.0013268081812124603,
    -0.00018930245297988805, 3.606925327441245e-05, -6.056761904460864e-06, 1.0558295463022833e-06,
    -1.811967365542384e-07, 3.117724964715322e-08, -5.354219639019687e-09, 9.193275519859589e-10,
    -1.5779412802883398e-10, 2.7079806229349544e-11, -4.64681865382573e-12, 7.97335019200742e-13,
    -1.368078209830916e-13, 2.3473194865638007e-14, -4.027432614949067e-15, 6.910051747372101e-16,
    -1.185584500221993e-16, 2.034148542496374e-17,
};

// log Gamma(1 + a) / a, u = 2 a - 1, a in [0, 1]: 22 terms, error 3.4e-17
__constant REAL LGAMMA1P[] = {
    -0.2647362369323025, 0.28587285859139466, -0.0235145763321575, 0.002685079974656731, -0.0003497552715727561,
    4.880755320003236e-05, -7.098358790485804e-06, 1.060746616681459e-06, -1.6155933858435658e-07,
    2.4955218012272827e-08, -3.896697345119788e-09, 6.137352658308378e-10, -9.734966110649396e-11,
    1.5533015630980043e-11, -2.4909467297324567e-12, 4.0120228240690907e-13, -6.486576014785499e-14,
    1.0522714222232995e-14, -1.7121447861626472e-15, 2.7933134227060936e-16, -4.568268129158122e-17,
    7.487532521139084e-18,
};

// (log(1 + m) - m) / m^2, u = 2 m, |m| <= 1/2: 29 terms, error 9.1e-17
__constant REAL LOG1PMX[] = {
    -0.5358983848622454, 0.188790204786391, -0.03758665739669174, 0.008003543436753652, -0.0017782310739789134,
    0.00040683065306807776, -9.508959832293538e-05, 2.259112684236885e-05, -5.436533167474966e-06,
    1.3219421548032748e-06, -3.242036745859803e-07, 8.00826575523791e-08, -1.9902531676047246e-08,
    4.9723161982345076e-09, -1.2479375157612212e-09, 3.1446194462760106e-10, -7.952136490929151e-11,
    2.0173075419521745e-11, -5.132051910706995e-12, 1.3089395777222642e-12, -3.3462144533709193e-13,
    8.572421034057906e-14, -2.2003424346531266e-14, 5.657770043558262e-15, -1.4571621058531566e-15,
    3.758583802209107e-16, -9.708374743533433e-17, 2.5109146500732973e-17, -6.501926735084236e-18,
};

// c_k(eta) = sum of d_kn eta^n, rows k of 12, a >= 20, |eta| <= 0.34; lengths of the rows:

#define TEMME_ROWS 12
__constant int TEMME_LENGTH[] = {15, 15, 14, 13, 11, 9, 9, 8, 6, 5, 3, 1};
__constant REAL TEMME[] = {
    -0.3333333333333333, 0.08333333333333333, -0.014814814814814815, 0.0011574074074074073, 0.0003527336860670194,
    -0.0001787551440329218, 3.919263178522438e-05, -2.185448510679992e-06, -1.85406221071516e-06,
    8.296711340953087e-07, -1.7665952736826078e-07, 6.707853543401498e-09, 1.0261809784240309e-08,
    -4.382036018453353e-09, 9.14769958223679e-10, -0.001851851851851852, -0.003472222222222222, 0.0026455026455026454,
    -0.0009902263374485596, 0.00020576131687242798, -4.018775720164609e-07, -1.8098550334489977e-05,
    7.64916091608111e-06, -1.6120900894563446e-06, 4.647127802807434e-09, 1.378633446915721e-07,
    -5.752545603517705e-08, 1.1951628599778148e-08, -1.7543241719747647e-11, -1.0091543710600413e-09,
    0.004133597883597883, -0.0026813271604938273, 0.0007716049382716049, 2.0093878600823047e-06,
    -0.0001073665322636516, 5.2923448829120125e-05, -1.2760635188618728e-05, 3.423578734096138e-08,
    1.3721957309062934e-06, -6.298992138380055e-07, 1.4280614206064242e-07, -2.0477098421990866e-10,
    -1.409252991086752e-08, 6.228974084922022e-09, 0.0006494341563786008, 0.00022947209362139917,
    -0.0004691894943952557, 0.00026772063206283885, -7.561801671883977e-05, -2.396505113867297e-07,
    1.1082654115347302e-05, -5.6749528269915965e-06, 1.4230900732435883e-06, -2.7861080291528143e-11,
    -1.6958404091930278e-07, 8.099464905388083e-08, -1.9111168485973655e-08, -0.0008618882909167117,
    0.0007840392217200666, -0.0002990724803031902, -1.4638452578843418e-06, 6.641498215465122e-05,
    -3.968365047179435e-05, 1.1375726970678419e-05, 2.507497226237533e-10, -1.6954149536558305e-06,
    8.907507532205309e-07, -2.292934834000805e-07, -0.00033679855336635813, -6.972813758365857e-05,
    0.0002772753244959392, -0.00019932570516188847, 6.797780477937208e-05, 1.419062920643967e-07,
    -1.3594048189768693e-05, 8.018470256334202e-06, -2.291481176508095e-06, 0.0005313079364639922,
    -0.0005921664373536939, 0.0002708782096718045, 7.902353232660328e-07, -8.153969367561969e-05,
    5.61168275310625e-05, -1.8329116582843375e-05, -3.0796134506033047e-09, 3.465155368803609e-06,
    0.00034436760689237765, 5.171790908260592e-05, -0.00033493161081142234, 0.0002812695154763237,
    -0.00010976582244684731, -1.2741009095484485e-07, 2.7744451511563645e-05, -1.8263488805711332e-05,
    -0.0006526239185953094, 0.0008394987206720873, -0.000438297098541721, -6.969091458420552e-07,
    0.00016644846642067547, -0.00012783517679769218, -0.0005967612901927463, -7.204895416020011e-05,
    0.0006782308837667328, -0.0006401475260262758, 0.00027750107634328704, 0.0013324454494800656,
    -0.0019144384985654776, 0.0011089369134596636, 0.001579727660730835,
};

#ifdef HAVE_DOUBLE
#define GAMMA_EPSILON 1e-17
#else
#define GAMMA_EPSILON 1e-8f
#endif

// log(1 + m) - m
SCALAR REAL log1p_less(REAL m) {
  return fabs(m) <= (REAL)0.5 ? m * m * CHEBYSHEV(LOG1PMX, m + m) : log1p(m) - m;
}
// x^a exp(-x) / Gamma(a + 1)
SCALAR REAL gamma_weight(REAL a, REAL x) {
  if (a < (REAL)20) {
    REAL product = (REAL)1, rest = a;
    for (int k = 0; k < 20 && rest > (REAL)1; ++k) {
      product *= rest;
      rest -= (REAL)1;
    }
    return pow(x, a) * exp(-x) / (product * CHEBYSHEV(GAMMA_UNIT, rest + rest - (REAL)1));
  }
  REAL z = (REAL)1 / (a * a), m = (x - a) / a;
  REAL stirling = ((REAL)1 / (REAL)12 -
                   z * ((REAL)1 / (REAL)360 -
                        z * ((REAL)1 / (REAL)1260 -
                             z * ((REAL)1 / (REAL)1680 - z * ((REAL)1 / (REAL)1188 - z * (REAL)691 / (REAL)360360))))) / a;
  REAL exponent = fabs(m) <= (REAL)0.5 ? a * log1p_less(m) : a * (log(x / a) - m);
  return exp(exponent - stirling) / sqrt((REAL)2 * REAL_PI * a);
}
// Q for x >= a, else P, a large and x near it
SCALAR REAL gamma_uniform(REAL a, REAL x) {
  REAL half_square = -log1p_less((x - a) / a), eta = copysign(sqrt(half_square + half_square), x - a);
  REAL sum = (REAL)0, scale = (REAL)1;
  int start = 0;
  for (int k = 0; k < TEMME_ROWS; ++k) {
    REAL row = (REAL)0;
    for (int n = TEMME_LENGTH[k] - 1; n >= 0; --n) row = row * eta + TEMME[start + n];
    sum += row * scale;
    scale /= a;
    start += TEMME_LENGTH[k];
  }
  sum /= sqrt((REAL)2 * REAL_PI * a);
  REAL tail = (REAL)0.5 * s_erfcx(sqrt(a * half_square));
  return exp(-a * half_square) * (x >= a ? tail + sum : tail - sum);
}
// Q(a, x) by Legendre's continued fraction, x > a
SCALAR REAL gamma_fraction(REAL a, REAL x) {
  REAL b = x + (REAL)1 - a, c = (REAL)INFINITY, d = (REAL)1 / b, h = d;
  for (int k = 1; k < 1000; ++k) {
    REAL n = (REAL)k, step = n * (a - n);
    b += (REAL)2;
    d = (REAL)1 / (step * d + b);
    c = b + step / c;
    REAL ratio = c * d;
    h *= ratio;
    if (fabs(ratio - (REAL)1) < (REAL)16 * GAMMA_EPSILON) break;
  }
  return gamma_weight(a, x) * a * h;
}
SCALAR REAL gamma_series(REAL a, REAL x) {
  REAL term = (REAL)1, sum = (REAL)1;
  for (int k = 1; k < 1000; ++k) {
    term *= x / (a + (REAL)k);
    sum += term;
    if (term < sum * GAMMA_EPSILON) break;
  }
  return gamma_weight(a, x) * sum;
}
// Q(a, x) for a < 1 and x <= 1.5
SCALAR REAL gamma_rest(REAL a, REAL x) {
  REAL power = a * log(x) - a * CHEBYSHEV(LGAMMA1P, a + a - (REAL)1); /* log(x^a / Gamma(a + 1)) */
  REAL term = (REAL)1, sum = (REAL)0;
  for (int k = 1; k < 60; ++k) {
    term *= -x / (REAL)k;
    sum += term * a / (a + (REAL)k);
    if (fabs(term) < GAMMA_EPSILON) break;
  }
  return -expm1(power) - exp(power) * sum;
}
SCALAR REAL gamma_share(REAL a, REAL x, int upper) {
  if (!(a >= (REAL)0) || !(x >= (REAL)0)) return (REAL)NAN;
  if ((a == (REAL)0 && x == (REAL)0) || (isinf(a) && isinf(x))) return (REAL)NAN;
  if (x == (REAL)0 || isinf(a)) return upper ? (REAL)1 : (REAL)0;
  if (a == (REAL)0 || isinf(x)) return upper ? (REAL)0 : (REAL)1;
  REAL found;
  int is_upper = x >= a;
  if (a >= (REAL)20 && fabs(x - a) <= (REAL)0.3 * a) {
    found = gamma_uniform(a, x);
  } else if (x > a && x > (REAL)1.5) {
    found = gamma_fraction(a, x);
  } else if (upper && a < (REAL)1) {
    return gamma_rest(a, x);
  } else {
    found = gamma_series(a, x);
    is_upper = 0;
  }
  return is_upper == upper ? found : (REAL)1 - found;
}
SCALAR REAL s_gammainc(REAL a, REAL x) { return gamma_share(a, x, 0); }
SCALAR REAL s_gammaincc(REAL a, REAL x) { return gamma_share(a, x, 1); }

WIDEN2(s_gammainc)
WIDEN2(s_gammaincc)
