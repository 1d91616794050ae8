# What every job does; the lines above are of this launch: registry, lock, model, first_port, servers, health_path, probe_host,
# ready_within_s, given_ip, and engine_command, which sets argv and exports variables for the server number $task.
# Needed on the node: bash, coreutils, awk, flock. /health is asked by bash itself, since nodes may lack curl and python.
set -u

task=${SLURM_ARRAY_TASK_ID:-0}
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$task}
job=${job:-$SLURM_JOB_ID}
node=${SLURMD_NODENAME:-$(hostname)}
started=$(date '+%F %T')
address='' port='' engine='' folder=''

say() { printf 'assay: %s\n' "$*" >&2; }
die() { say "${@:2}"; exit "$1"; }

find_address() {
  local submit
  address=$given_ip
  [[ -n $address ]] && return
  # IPv4 first: it is what servers listen on unless --host says otherwise.
  submit=$({ getent ahostsv4 "${SLURM_SUBMIT_HOST:-}" || getent ahosts "${SLURM_SUBMIT_HOST:-}"; } 2>/dev/null | awk 'NR == 1 { print $1 }')
  [[ -n $submit ]] && address=$(ip -o route get "$submit" 2>/dev/null | awk '{ for (i = 1; i < NF; i++) if ($i == "src") print $(i + 1) }')
  [[ -n $address ]] || address=$(hostname -I 2>/dev/null | awk '{ print $1 }')
  [[ -n $address ]] || die 2 "$node has no address that leads to ${SLURM_SUBMIT_HOST:-the submit host}: name one with --host-ip"
}

lock_registry() {
  exec 9>>"$lock" || die 73 "cannot write $lock: choose another place with --registry"
  flock -E 75 -w 30 9
  case $? in
    0) ;;
    75) die 75 "$lock has been locked for 30 s: the registry was not changed" ;;
    *) die 71 "the file system of $lock has no file locks, so two writers would lose lines: choose another place with --registry" ;;
  esac
}
unlock_registry() { exec 9>&-; }

# STATUS [END EXIT_CODE]: our line in place of the one before. The lock must be held.
write_line() {
  local copy=$registry.$job.tmp
  {
    { [[ ! -e $registry ]] || LC_ALL=C awk -F'|' -v job="$job" '($1 "") != (job "")' "$registry"; } &&
      printf '%s|%s|%s|%s|%s|%s|%s' "$job" "$node" "$address" "$port" "$model" "$started" "$1" &&
      { [[ $# -eq 1 ]] || printf '|%s|%s' "$2" "$3"; } && echo
  } >"$copy" && { [[ ! -e $registry ]] || chmod --reference="$registry" "$copy"; } && sync "$copy" && mv -f "$copy" "$registry" && return
  rm -f "$copy"
  say "cannot write $registry"
  return 74
}

change_line() { lock_registry; write_line "$@"; local code=$?; unlock_registry; return "$code"; }

# Any socket on that port would keep the server from binding it, a connection to elsewhere too; 06 is TIME_WAIT, which does not.
in_use() {
  local wanted place state
  printf -v wanted '%04X' "$1"
  while read -r _ place _ state _; do
    [[ $state != 06 && ${place##*:} == "$wanted" ]] && return
  done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  return 1
}

# Another job of this node that has not bound its port yet.
promised() {
  [[ -e $registry ]] || return
  LC_ALL=C awk -F'|' -v job="$job" -v ip="$address" -v port="$1" '
    ($1 "") != (job "") && ($3 "") == (ip "") && $4 == port && ($7 == "starting" || $7 == "running") { found = 1 }
    END { exit !found }' "$registry"
}

# As servers outside SLURM lease theirs. The engine inherits the lease, so it lasts until the port is bound, minutes later, and
# counts for jobs of other registries too. Without a folder of our own there is none.
leased() {
  local folder=${TMPDIR:-/tmp}/assay-leases-$UID
  mkdir -m 700 "$folder" 2>/dev/null
  [[ -d $folder && -O $folder && ! -L $folder ]] || return 0
  exec 8>>"$folder/port-$1.lock" || return 0
  flock -n 8
  [[ $? != 1 ]]
}

# Another user's server, which took the port while ours was loading.
strangers() {
  local wanted place state owner found=1
  printf -v wanted '%04X' "$1"
  while read -r _ place _ state _ _ _ owner _; do
    [[ $state == 0A && ${place##*:} == "$wanted" ]] || continue
    [[ $owner != "$UID" ]] || return 1
    found=0
  done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  return "$found"
}

# In steps of the array's size, so that no server takes the port of another one of its array.
choose_port() {
  port=$((first_port + task))
  while in_use "$port" || promised "$port" || ! leased "$port"; do
    say "port $port is taken on $node: skipped"
    port=$((port + servers))
    ((port < 65536)) || die 1 "no free port from $first_port on at $node: choose a lower --start-port"
  done
}

healthy() {
  (
    exec 3<>"/dev/tcp/$probe_host/$port" || exit
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n' "$health_path" "$probe_host" >&3
    read -r -t 5 answer <&3 && [[ $answer == HTTP/1.?' 200'* ]]
  ) 2>/dev/null
}

stop_engine() {
  [[ -n $engine ]] || return
  kill -TERM "$engine" 2>/dev/null || return
  for _ in {1..200}; do
    kill -0 "$engine" 2>/dev/null || return
    sleep 0.1
  done
  say "the server did not end within 20 s: killed"
  kill -KILL "$engine" 2>/dev/null
}

finish() {
  local code=$?
  trap - EXIT
  trap '' TERM INT HUP
  stop_engine
  [[ -z $folder ]] || rm -rf "$folder"
  [[ -z $port ]] || change_line stopped "$(date '+%F %T')" "$code"
  exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

find_address
folder=$(mktemp -d) || die 73 "cannot make a folder in ${TMPDIR:-/tmp} of $node"
lock_registry
choose_port
write_line starting || exit
unlock_registry

# In the script's own process group: SLURM ends what is in it even if this script was killed.
(
  trap - TERM INT HUP
  engine_command
  exec "${argv[@]}"
) </dev/null &
engine=$!

deadline=$((SECONDS + ready_within_s))
until healthy; do
  kill -0 "$engine" 2>/dev/null || { wait "$engine"; exit; }
  ((SECONDS < deadline)) || die 4 "no answer 200 from $health_path within $ready_within_s s: --server-timeout allows more"
  sleep 0.2
done
! strangers "$port" || die 98 "port $port of $node was taken by another user's server: choose another --start-port"
say "$model answers at $address:$port"
change_line running || exit
wait "$engine"
