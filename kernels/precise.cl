// Included before math.cl where settings.precise asks for functions that are right to the last place.
#define CLTORCH_PRECISE 1
