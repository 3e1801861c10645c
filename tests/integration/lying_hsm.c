/*
 * A PKCS#11 module that lies. It passes everything on to SoftHSM2 (LYING_HSM_REAL) and spoils the answer in the way that the file
 * `mode` says, in the folder LYING_HSM_FOLDER. There it leaves what a test wants to know:
 *
 *   mechanisms  each mechanism that it was asked for, in hex, a line each
 *   logins      a line for each login
 *   secrets     each plaintext that it was given or gave back, and the PIN, in hex, a line each: what must be seen nowhere else
 *   pid         the process that it was loaded into last
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

typedef unsigned long ck;
typedef unsigned char byte;

struct mechanism { ck type; void *parameter; ck length; };
struct attribute { ck type; void *value; ck length; };
/* CK_FUNCTION_LIST: the functions in the order of the standard. */
struct functions { byte version[2]; void *at[68]; };

enum { INITIALIZE = 0, FINALIZE = 1, LOGIN = 18, GET_ATTRIBUTE_VALUE = 24, ENCRYPT_INIT = 29, ENCRYPT = 30, DECRYPT_INIT = 33, DECRYPT = 34,
       DIGEST_INIT = 37, SIGN_INIT = 42, SIGN_RECOVER_INIT = 46, VERIFY_INIT = 48, VERIFY_RECOVER_INIT = 52, GENERATE_KEY = 58,
       GENERATE_KEY_PAIR = 59, WRAP_KEY = 60, UNWRAP_KEY = 61, DERIVE_KEY = 62 };
enum { OK = 0, GENERAL_ERROR = 0x05, DEVICE_REMOVED = 0x32, FUNCTION_NOT_SUPPORTED = 0x54, VENDOR_DEFINED = 0x80000000 };
enum { SENSITIVE = 0x103, EXTRACTABLE = 0x162, VALUE_LEN = 0x161 };

static struct functions *real, ours;
static byte pin[256];
static ck pin_length;

static void leave(const char *file, const char *format, ...) {
  char path[512], line[1024];
  va_list arguments;
  snprintf(path, sizeof path, "%s/%s", getenv("LYING_HSM_FOLDER"), file);
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  int to = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (to < 0 || write(to, line, length) != length) abort();
  close(to);
}

static void leave_secret(const byte *bytes, ck length) {
  char text[520] = {0};
  for (ck at = 0; at < length && at < 256; at++) sprintf(text + 2 * at, "%02x", bytes[at]);
  leave("secrets", "%s\n", text);
}

static int mode(const char *name) {
  char path[512], text[64] = {0};
  snprintf(path, sizeof path, "%s/mode", getenv("LYING_HSM_FOLDER"));
  int from = open(path, O_RDONLY);
  if (from < 0) abort();
  ssize_t length = read(from, text, sizeof text - 1);
  close(from);
  return length == (ssize_t)strlen(name) && !strcmp(text, name);
}

static void hang(void) {
  signal(SIGTERM, SIG_IGN);
  for (;;) pause();
}

/* The program's own handler would let a signal go by that was merely sent. */
static void crash(void) {
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
}

static ck initialize(void *arguments) {
  if (mode("never_starts")) hang();
  return ((ck (*)(void *))real->at[INITIALIZE])(arguments);
}

static ck finalize(void *reserved) {
  if (mode("never_ends")) hang();
  if (mode("aborts_at_the_end")) abort();
  return ((ck (*)(void *))real->at[FINALIZE])(reserved);
}

static ck login(ck session, ck user, byte *given, ck length) {
  leave("logins", "%lu\n", user);
  pin_length = length < sizeof pin ? length : sizeof pin;
  memcpy(pin, given, pin_length);
  leave_secret(pin, pin_length);
  if (mode("never_logs_in")) hang();
  return ((ck (*)(ck, ck, byte *, ck))real->at[LOGIN])(session, user, given, length);
}

static ck get_attribute_value(ck session, ck object, struct attribute *wanted, ck count) {
  ck done = ((ck (*)(ck, ck, struct attribute *, ck))real->at[GET_ATTRIBUTE_VALUE])(session, object, wanted, count);
  for (ck at = 0; at < count; at++) {
    if (!wanted[at].value) continue;
    if (mode("key_may_leave") && wanted[at].type == EXTRACTABLE) *(byte *)wanted[at].value = 1;
    if (mode("key_is_plain") && wanted[at].type == SENSITIVE) *(byte *)wanted[at].value = 0;
    if (mode("key_is_short") && wanted[at].type == VALUE_LEN) *(ck *)wanted[at].value = 16;
  }
  return done;
}

/* Whoever has the worker can write to the server what looks like an answer. */
static void forge(const char *answer, size_t length) {
  for (int to = 3; to < 64; to++) {
    struct stat kind;
    if (!fstat(to, &kind) && S_ISFIFO(kind.st_mode) && write(to, answer, length) < 0) continue;
  }
  _exit(0);
}

static void babble(const byte *secret, ck length) {
  char text[600];
  int end = snprintf(text, sizeof text, "PIN %.*s, secret ", (int)pin_length, pin);
  for (ck at = 0; at < length && at < 64; at++) end += sprintf(text + end, "%02x", secret[at]);
  for (int to = 1; to <= 2; to++) dprintf(to, "%s\n", text);
  syslog(LOG_ERR, "%s", text);
}

static ck encrypt(ck session, byte *plain, ck length, byte *out, ck *out_length) {
  leave_secret(plain, length);
  ck done = ((ck (*)(ck, byte *, ck, byte *, ck *))real->at[ENCRYPT])(session, plain, length, out, out_length);
  if (out && mode("encrypts_wrongly")) out[0] ^= 1;
  if (out && mode("encrypts_nothing")) memcpy(out, plain, length);
  return done;
}

static ck decrypt(ck session, byte *cipher, ck length, byte *out, ck *out_length) {
  ck done = ((ck (*)(ck, byte *, ck, byte *, ck *))real->at[DECRYPT])(session, cipher, length, out, out_length);
  if (!out) {
    if (mode("far_too_long")) *out_length = 1ul << 60;
    if (mode("too_long")) *out_length = 4096;
    return done;
  }
  if (done != OK) return done;
  leave_secret(out, *out_length);
  if (mode("wrong_bytes")) out[0] ^= 1;
  if (mode("too_short")) *out_length -= 1;
  if (mode("nothing")) *out_length = 0;
  if (mode("too_long")) *out_length = 4096;
  if (mode("says_more_than_there_is")) *out_length = 100000;
  if (mode("general_error")) return GENERAL_ERROR;
  if (mode("device_removed")) return DEVICE_REMOVED;
  if (mode("secret_as_a_number")) return VENDOR_DEFINED | (out[0] << 16) | (out[1] << 8) | out[2];
  if (mode("babbles")) { babble(out, *out_length); return GENERAL_ERROR; }
  if (mode("babbles_and_answers")) babble(out, *out_length);
  if (mode("never")) hang();
  if (mode("aborts")) abort();
  if (mode("crashes")) crash();
  if (mode("leaves")) _exit(0);
  if (mode("forges")) forge("\0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 33);
  if (mode("forges_a_text")) forge("\5the PIN is what the file says\n", 31);
  return OK;
}

static ck encrypt_init(ck session, struct mechanism *mechanism, ck key) {
  leave("mechanisms", "%lx\n", mechanism->type);
  return ((ck (*)(ck, struct mechanism *, ck))real->at[ENCRYPT_INIT])(session, mechanism, key);
}

static ck decrypt_init(ck session, struct mechanism *mechanism, ck key) {
  leave("mechanisms", "%lx\n", mechanism->type);
  return ((ck (*)(ck, struct mechanism *, ck))real->at[DECRYPT_INIT])(session, mechanism, key);
}

static ck generate_key(ck session, struct mechanism *mechanism, struct attribute *wanted, ck count, ck *key) {
  leave("mechanisms", "%lx\n", mechanism->type);
  return ((ck (*)(ck, struct mechanism *, struct attribute *, ck, ck *))real->at[GENERATE_KEY])(session, mechanism, wanted, count, key);
}

/* All others that take a mechanism. */
static ck unwanted(ck session, struct mechanism *mechanism) {
  (void)session;
  leave("mechanisms", "%lx\n", mechanism->type);
  return FUNCTION_NOT_SUPPORTED;
}

ck C_GetFunctionList(struct functions **list) {
  void *library = dlopen(getenv("LYING_HSM_REAL"), RTLD_NOW | RTLD_LOCAL);
  if (!library) return GENERAL_ERROR;
  ck (*functions)(struct functions **) = (ck (*)(struct functions **))dlsym(library, "C_GetFunctionList");
  if (!functions || functions(&real) != OK) return GENERAL_ERROR;
  ours = *real;
  const int others[] = {DIGEST_INIT, SIGN_INIT, SIGN_RECOVER_INIT, VERIFY_INIT, VERIFY_RECOVER_INIT, GENERATE_KEY_PAIR, WRAP_KEY, UNWRAP_KEY, DERIVE_KEY};
  for (size_t at = 0; at < sizeof others / sizeof *others; at++) ours.at[others[at]] = unwanted;
  ours.at[INITIALIZE] = initialize;
  ours.at[FINALIZE] = finalize;
  ours.at[LOGIN] = login;
  ours.at[GET_ATTRIBUTE_VALUE] = get_attribute_value;
  ours.at[ENCRYPT_INIT] = encrypt_init;
  ours.at[ENCRYPT] = encrypt;
  ours.at[DECRYPT_INIT] = decrypt_init;
  ours.at[DECRYPT] = decrypt;
  ours.at[GENERATE_KEY] = generate_key;
  *list = &ours;
  leave("pid", "%d\n", getpid());
  return OK;
}
