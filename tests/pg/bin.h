/* bin.h - which PostgreSQL the tests of this folder run: CPPFLAGS=-DTESTS_PG=17 for another one. */
#ifndef TESTS_PG_BIN_H
#define TESTS_PG_BIN_H

#ifndef TESTS_PG
#define TESTS_PG 15
#endif

#define TESTS_PG_TEXT(number) #number
#define TESTS_PG_PATH(number) "/usr/lib/postgresql/" TESTS_PG_TEXT(number) "/bin"
#define TESTS_PG_BIN TESTS_PG_PATH(TESTS_PG)

enum { TESTS_PG_MAJOR = TESTS_PG };

#endif
