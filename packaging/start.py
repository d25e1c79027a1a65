"""First code of the zipapp: says in one sentence why it cannot run here; else unpacks itself, once, and starts.

It becomes the zipapp's ``__main__.py``, followed by a call of `main` (packaging/build_zipapp.py). shiv's own way checks
neither version nor processor, and by the time its preamble runs everything is unpacked into the home folder already.

Every Python must be able to read this file, also Python 2, or the wrong one answers with a syntax error: no
annotations, no f-strings; and until the checks are through nothing is imported but `os` and `sys`.
"""

import os
import sys

STAMP = "nims-complete"
"""A file in an unpacked folder: everything in it has reached the disk. Without it, power was lost while unpacking."""


def main(built_for):
    """Start the appliance; `built_for` is what the bundled binaries need (build_zipapp.py, `needs_of`)."""
    machine = this_machine()
    complaint = why_not_here(built_for, machine)
    if complaint:
        # `python3` need not be the Python that the bundle is for, though that one is installed too.
        fitting = find_fitting_python(built_for, machine)
        if fitting:
            os.execv(fitting, [fitting, "-I"] + sys.argv)
        sys.exit("nims: " + complaint)
    if not sys.flags.isolated and sys.executable:
        # Started as `python3 nims.pyz`: without -I, PYTHONPATH and the user's packages would come first.
        os.execv(sys.executable, [sys.executable, "-I"] + sys.argv)
    root, in_use = unpack_somewhere(sys.argv[0], candidates(sys.argv, os.environ))
    # shiv finds everything unpacked there. The variable is taken back by preamble.py.
    os.environ["SHIV_ROOT"] = root
    from _bootstrap import bootstrap

    try:
        bootstrap()
    finally:
        if in_use is not None:
            os.close(in_use)


def this_machine():
    """What the checks look at: Python's version and its endings of compiled modules, system, processor, C library."""
    machine = {
        "python": "%d.%d" % sys.version_info[:2],
        "suffixes": [],
        "system": "linux" if sys.platform.startswith("linux") else sys.platform,
        "processor": os.uname()[4] if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "unknown"),
        "glibc": "",
    }
    if sys.version_info[0] >= 3:
        from _imp import extension_suffixes

        machine["suffixes"] = extension_suffixes()
    if machine["system"] == "linux":
        try:
            machine["glibc"] = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")[2]
        except (ValueError, OSError):  # musl and others do not know the name
            machine["glibc"] = ""
    return machine


def why_not_here(built_for, machine):
    """One sentence that says why the bundled binaries cannot run on `machine`; empty when they can."""
    needs = "Python %(python)s on %(system)s %(processor)s" % built_for
    has = "Python %(python)s on %(system)s %(processor)s" % machine
    remedy = "build one for this machine with `make appliance` in the source"
    if any(built_for[key] != machine[key] for key in ("system", "processor")):
        return "this file is made for %s, and this is %s: %s" % (needs, has, remedy)
    if built_for["python"] != machine["python"]:
        return "this file is made for %s, and this is %s: install python%s, or %s" % (
            needs,
            has,
            built_for["python"],
            remedy,
        )
    if built_for["suffix"] not in machine["suffixes"]:
        return "this file is made for %s with modules named *%s, and this Python wants *%s: %s" % (
            needs,
            built_for["suffix"],
            machine["suffixes"][0] if machine["suffixes"] else "?",
            remedy,
        )
    if built_for["glibc"] and version(machine["glibc"]) < version(built_for["glibc"]):
        return "this file needs the GNU C library %s or newer, and this system has %s: %s" % (
            built_for["glibc"],
            machine["glibc"] or "another one",
            remedy,
        )
    return ""


def version(text):
    """ "2.36" as (2, 36), to be compared; () for an empty text."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def find_fitting_python(built_for, machine):
    """The path of an installed Python that the bundle is made for; None if none, or Python is not the trouble."""
    same = all(built_for[key] == machine[key] for key in ("system", "processor"))
    if not same or built_for["suffix"] in machine["suffixes"]:
        return None
    import subprocess

    probe = "import _imp, sys; sys.exit(%r not in _imp.extension_suffixes())" % built_for["suffix"]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder, "python" + built_for["python"])
        if os.path.isabs(path) and os.access(path, os.X_OK):
            # Asked, because version managers put stubs on PATH that only fail.
            with open(os.devnull, "r+b") as nothing:
                if subprocess.call([path, "-I", "-c", probe], stdin=nothing, stdout=nothing, stderr=nothing) == 0:
                    return path
    return None


def candidates(arguments, environ):
    """Folders to unpack into, best first: beside the data, then the user's cache, then a temporary folder."""
    if environ.get("SHIV_ROOT"):
        return [os.path.abspath(os.path.expanduser(environ["SHIV_ROOT"]))]
    data = environ.get("NIMS_DATA") or os.path.join(os.path.dirname(os.path.realpath(arguments[0])), "nims-data")
    for position, argument in enumerate(arguments):
        if argument == "--data" and position + 1 < len(arguments):
            data = arguments[position + 1]
        elif argument.startswith("--data="):
            data = argument[len("--data=") :]
    home = os.path.expanduser("~")
    caches = environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    temporary = environ.get("TMPDIR") or "/tmp"
    folders = [os.path.join(data, "cache"), os.path.join(caches, "nims")]
    folders.append(os.path.join(temporary, "nims-cache-%d" % os.getuid()))
    return [os.path.abspath(os.path.expanduser(folder)) for folder in folders]


def unpack_somewhere(archive, folders):
    """(folder, lock) of the first of `folders` that holds this build unpacked, or can; ends with one sentence if none.

    The lock is a file descriptor that marks the unpacked folder as in use until it is closed or the process ends.
    """
    import json
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(archive) as opened:
            build = json.loads(opened.read("environment.json").decode())["build_id"]
            name = "%s_%s" % (os.path.basename(os.path.realpath(archive)), build)
            for root in folders:  # an unpacked one serves also where nothing can be written
                in_use = hold(os.path.join(root, name))
                if in_use is not None:
                    return root, in_use
            reasons = []
            for root in folders:
                try:
                    prepare(root)
                    while True:
                        unpack(opened, root, name)
                        in_use = hold(os.path.join(root, name))
                        if in_use is not None:
                            return root, in_use
                except OSError as error:
                    reasons.append("%s (%s)" % (root, error.strerror or error))
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        sys.exit("nims: %s is damaged (%s): copy it again" % (archive, error))
    sys.exit("nims: no folder to unpack into, set NIMS_DATA to one that can be written: tried %s" % ", ".join(reasons))


def hold(folder):
    """A file descriptor that keeps `folder` from being removed, if it is complete and ours to trust; else None."""
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:  # a file system without locks: nothing will be removed there either (preamble.py)
        pass
    held = os.fstat(descriptor)
    try:
        complete = os.path.isfile(os.path.join(folder, STAMP)) and os.stat(folder).st_ino == held.st_ino
    except OSError:  # removed between the two
        complete = False
    if complete and held.st_uid in (0, os.geteuid()) and not held.st_mode & 0o002:
        return descriptor
    os.close(descriptor)
    return None


def prepare(root):
    """Make `root`; OSError when code in it cannot be run, or could be exchanged by another user."""
    if not os.path.isdir(root):
        os.makedirs(root, 0o755)
    status = os.stat(root)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002:
        raise OSError("other users can write there")
    if os.statvfs(root).f_flag & getattr(os, "ST_NOEXEC", 8):
        raise OSError("mounted noexec")
    if not os.access(root, os.W_OK | os.X_OK):
        raise OSError("cannot be written")


def unpack(opened, root, name):
    """Unpack into `root`/`name` unless another start has done it meanwhile; complete or not there, never in between."""
    import fcntl
    import shutil
    from pathlib import Path

    from _bootstrap import extract_site_packages

    target = os.path.join(root, name)
    lock = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second of two first starts waits here
        if os.path.isfile(os.path.join(target, STAMP)):
            return
        try:
            extract_site_packages(opened, Path(target), force=True)
            os.sync()
            with open(os.path.join(target, STAMP), "w"):
                pass
        except BaseException:
            shutil.rmtree(target + ".tmp", ignore_errors=True)
            raise
        finally:
            shivs_lock = os.path.join(root, ".%s_lock" % name)
            if os.path.exists(shivs_lock):
                os.unlink(shivs_lock)
    finally:
        os.close(lock)
