/* What the C compiler says of structs, for spec/layout_spec.lua: prints a line
   "struct field offset size" for each field, and "struct - alignment size".

     layout_offsets              the lines
     layout_offsets fill KEY     makes a segment with one struct everything,
                                 filled, and waits for the end of its input
     layout_offsets check KEY    exit code 0 if another one filled it so */
#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/types.h>

struct calculator {
  int operand1, operand2;
  char op;
  int result, state, client;
};

struct point {
  double x, y;
};

struct everything {
  char c;
  int8_t i8;
  uint8_t u8;
  int16_t i16;
  char c2;
  uint16_t u16;
  int32_t i32;
  char c3;
  uint32_t u32;
  int64_t i64;
  uint64_t u64;
  char c4;
  short s;
  unsigned short us;
  int i;
  unsigned u;
  long l;
  unsigned long ul;
  char c5;
  long long ll;
  unsigned long long ull;
  size_t size;
  ssize_t ssize;
  bool b;
  float f;
  char c6;
  double d;
  char name[13];
  struct point point;
  char c7;
  struct point points[3];
  int16_t matrix[2][3];
  char words[2][5];
  unsigned char bytes[7];
  pid_t pid;
};

union number {
  char bytes[5];
  int32_t i;
  double d;
};

struct __attribute__((packed)) packed {
  char c;
  double d;
  short s;
};

struct holder {
  char c;
  union number n;
  struct packed p;
  short s;
};

#define FIELD(kind, type, field) \
  printf("%s %s %zu %zu\n", \
         #type, \
         #field, \
         offsetof(kind type, field), \
         sizeof(((kind type *)0)->field))
#define WHOLE(kind, type) \
  printf("%s - %zu %zu\n", #type, _Alignof(kind type), sizeof(kind type))
#define E(field) FIELD(struct, everything, field)

static void print_everything(void) {
  WHOLE(struct, everything);
  E(c), E(i8), E(u8), E(i16), E(c2), E(u16), E(i32), E(c3), E(u32), E(i64);
  E(u64), E(c4), E(s), E(us), E(i), E(u), E(l), E(ul), E(c5), E(ll), E(ull);
  E(size), E(ssize), E(b), E(f), E(c6), E(d), E(name), E(point), E(c7);
  E(points), E(matrix), E(words), E(bytes), E(pid);
}

static void print_others(void) {
  WHOLE(struct, calculator);
  FIELD(struct, calculator, operand1), FIELD(struct, calculator, operand2);
  FIELD(struct, calculator, op), FIELD(struct, calculator, result);
  FIELD(struct, calculator, state), FIELD(struct, calculator, client);
  WHOLE(union, number);
  FIELD(union, number, bytes), FIELD(union, number, i);
  FIELD(union, number, d);
  WHOLE(struct, packed);
  FIELD(struct, packed, c), FIELD(struct, packed, d);
  FIELD(struct, packed, s);
  WHOLE(struct, holder);
  FIELD(struct, holder, c), FIELD(struct, holder, n);
  FIELD(struct, holder, p), FIELD(struct, holder, s);
}

static void fill(struct everything *e) {
  memset(e, 0, sizeof *e);
  e->c = 'c', e->i8 = INT8_MIN, e->u8 = UINT8_MAX, e->i16 = INT16_MIN;
  e->u16 = UINT16_MAX, e->i32 = INT32_MIN, e->u32 = UINT32_MAX;
  e->i64 = INT64_MIN, e->u64 = UINT64_MAX, e->s = -2, e->us = 3, e->i = -4;
  e->u = 5, e->l = -6, e->ul = 7, e->ll = -8, e->ull = 9, e->size = 10;
  e->ssize = -11, e->b = true, e->f = 0.5F, e->d = DBL_MAX, e->pid = 12;
  memcpy(e->name, "thirteen char", sizeof e->name);
  e->point = (struct point){1.5, -2.5};
  for (int i = 0; i < 3; i++) e->points[i] = (struct point){i, -i};
  for (int i = 0; i < 6; i++) e->matrix[i / 3][i % 3] = (int16_t)(i * 100);
  memcpy(e->words[0], "ab", 2);
  memcpy(e->words[1], "vwxyz", 5);
  memcpy(e->bytes, "\0\1\2\377\0\0\0", 7);
}

static struct everything *attach(key_t key, int flags) {
  int id = shmget(key, sizeof(struct everything), flags);
  void *p = id >= 0 ? shmat(id, NULL, 0) : (void *)-1;
  if (p == (void *)-1) {
    perror("shared memory");
    exit(2);
  }
  return p;
}

int main(int argc, char **argv) {
  struct everything wanted;
  fill(&wanted);
  if (argc == 3) {
    key_t key = (key_t)strtol(argv[2], NULL, 0);
    if (strcmp(argv[1], "fill") == 0) {
      fill(attach(key, IPC_CREAT | IPC_EXCL | 0600));
      return 0;
    }
    return memcmp(attach(key, 0), &wanted, sizeof wanted) != 0;
  }
  print_everything();
  print_others();
  return 0;
}
