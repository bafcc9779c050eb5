// SPDX-License-Identifier: Apache-2.0
// Calls that are not plain: recursion, pointers to functions, virtual functions. Each kernel writes o[i] for i < n.
#define KERNEL extern "C" __global__ void
#define KEPT __noinline__ __device__

KEPT int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

KERNEL recursion(const float* a, float* o, unsigned* w, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) o[i] = (float)fibonacci(i % 12);
}

KEPT bool is_odd(int n);
KEPT bool is_even(int n) { return n == 0 ? true : is_odd(n - 1); }
KEPT bool is_odd(int n) { return n == 0 ? false : is_even(n - 1); }

KERNEL mutual_recursion(const float* a, float* o, unsigned* w, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) o[i] = is_even(i % 37) ? 1.0f : 0.0f;
}

// A frame that inner calls get a pointer to: every depth has its own.
KEPT int sum_of_frames(const int* outer, int depth) {
  int own[4];
  for (int k = 0; k < 4; ++k) own[k] = outer[3 - k] + k * depth;
  int sum = own[0] + own[3];
  if (depth > 0) sum += sum_of_frames(own, depth - 1);
  return sum + own[1] - outer[2];
}

KERNEL recursive_frames(const float* a, float* o, unsigned* w, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int first[4] = {i, i + 1, i + 2, i + 3};
  if (i < n) o[i] = (float)sum_of_frames(first, i % 5);
}

typedef float (*Function)(float);
KEPT float twice(float x) { return 2 * x; }
KEPT float square(float x) { return x * x; }
KEPT float negative(float x) { return -x; }
__device__ Function functions[3] = {twice, square, negative};

KERNEL function_pointers(const float* a, float* o, unsigned* w, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) o[i] = functions[i % 3]((float)i);
}

struct Shape {
  __device__ virtual float area() const = 0;
};
struct Square : Shape {
  float side;
  __device__ explicit Square(float s) : side(s) {}
  __device__ float area() const override { return side * side; }
};
struct Rectangle : Shape {
  float width, height;
  __device__ Rectangle(float w, float h) : width(w), height(h) {}
  __device__ float area() const override { return width * height; }
};
KEPT float area_of(const Shape* shape) { return shape->area(); }

KERNEL virtual_functions(const float* a, float* o, unsigned* w, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const Square square_shape((float)i);
  const Rectangle rectangle((float)i, 3);
  const Shape* shape = i % 2 == 0 ? (const Shape*)&square_shape : &rectangle;
  if (i < n) o[i] = area_of(shape);
}

KEPT int through_pointer(int depth);
typedef int (*Step)(int);
__device__ Step steps[2] = {through_pointer, through_pointer};
KEPT int through_pointer(int depth) { return depth == 0 ? 1 : depth * steps[depth & 1](depth - 1); }

KERNEL recursion_through_pointers(const float* a, float* o, unsigned* w, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) o[i] = (float)through_pointer(i % 8);
}

KEPT int endless(int n, volatile int* p);
KERNEL endless_recursion(const float* a, float* o, unsigned* w, int n) {
  o[threadIdx.x] = (float)endless(n, (volatile int*)w);
}
KEPT int endless(int n, volatile int* p) { return endless(n + 1, p) + *p; }  // <- bug: never ends

__device__ Function set_later;

KERNEL null_function(const float* a, float* o, unsigned* w, int n) {
  o[threadIdx.x] = set_later(1.0f);  // <- bug: nobody has set the pointer
}
