#ifndef MATRIX_H
#define MATRIX_H

#define DIV_UP(a, b) (((a) + (b) - 1) / (b))

#endif
