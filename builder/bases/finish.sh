# Runs as mmdebstrap's last hook: sh finish.sh ROOT FOLDER. Adds the notebook user, compiles the
# standard library, and removes what differs from one run or machine to the next.
set -eu
root=$1
folder=$2

# The mirrors without their credentials, which mmdebstrap had read from its standard input.
cat "$folder/sources.list" > "$root/etc/apt/sources.list"

# The user of Jupyter's and Kubeflow's images. Written, not `useradd`: no dates, no backup files.
if ! grep -q '^users:x:100:' "$root/etc/group"; then
    echo 'users:x:100:' >> "$root/etc/group"
fi
echo 'jovyan:x:1000:100::/home/jovyan:/bin/bash' >> "$root/etc/passwd"
echo 'jovyan:*:0:0:99999:7:::' >> "$root/etc/shadow"
mkdir -p "$root/home/jovyan"
chown 1000:100 "$root/home/jovyan"

# Debian's own .pyc files hold the times of their sources; these are checked by nothing, so they hold
# none and spare Python a stat a module. The root's own interpreter writes them, so they fit it.
PYTHONHASHSEED=0 chroot "$root" /usr/bin/python3 -I -c '
import compileall, glob, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
done = [
    compileall.compile_dir(folder, 32, force=True, quiet=1, invalidation_mode=mode)
    for folder in glob.glob("/usr/lib/python3*")
]
sys.exit(not all(done))
'

# What Debian's own tools compiled while they ran depends on that run.
find "$root/usr/share/python3" -name __pycache__ -prune -exec rm -rf {} +

# Dates of password changes are those of this run.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1:0:/' "$root/etc/shadow"

# The host's name and resolver; runtimes mount their own over these files.
for name in hostname resolv.conf; do
    rm -f "$root/etc/$name"
    : > "$root/etc/$name"
    chmod 644 "$root/etc/$name"
done
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root/etc/.pwd.lock"
rm -f "$root/etc/passwd-" "$root/etc/group-" "$root/etc/shadow-" "$root/etc/gshadow-"
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
rm -f "$root"/etc/ssh/ssh_host_*
rm -f "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root/var/lib/systemd/random-seed"
rm -rf "$root/var/cache/ldconfig" "$root/root/.cache" "$root/usr/share/info" "$root/usr/share/lintian"
# Not /tmp: mmdebstrap's settings are there until it ends, and without them its last steps would
# clean the host's apt instead. It empties /tmp itself.
find "$root/var/log" "$root/var/tmp" "$root/run" -mindepth 1 -delete
