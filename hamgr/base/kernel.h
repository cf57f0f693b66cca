/* kernel.h - calls of the kernel that older C libraries do not name: pidfd_open() and
 * pidfd_send_signal(), which came with glibc 2.36, and close_range(), which came with 2.34. */
#ifndef HAMGR_BASE_KERNEL_H
#define HAMGR_BASE_KERNEL_H

#include <features.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<sys/pidfd.h>)
#include <sys/pidfd.h>
#else
static inline int pidfd_open(pid_t pid, unsigned int flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

static inline int pidfd_send_signal(int fd, int signal, siginfo_t *info, unsigned int flags)
{
    return (int)syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}
#endif

#if __GLIBC_PREREQ(2, 34)
#include <linux/close_range.h>
#else
enum {
    CLOSE_RANGE_NUMBER = 436, /* the same on all machines */
    CLOSE_RANGE_CLOEXEC = 4,  /* since Linux 5.11; before, the call is refused */
};

static inline int close_range(unsigned int first, unsigned int last, int flags)
{
    return (int)syscall(CLOSE_RANGE_NUMBER, first, last, flags);
}
#endif

#endif
