#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A coding agent that behaves as told: answers, hangs, floods, multiplies, or tries to get out of its folder.
#   fake_agent.sh MODE [OUTSIDE FOLDER] [MARK]      MARK is an odd number of seconds, by which sleepers are found again
mode=$1
outside=$2
mark=$3
# Prints what it finds: the caller looks for the content of the files.
look() { for file in "$@"; do cat "$file" 2>/dev/null && echo "read $file"; done; }
# Calls a tool through the channel's files and prints its reply.
ask() {
  n=$((n + 1))
  token=$(sed -n 's/.*"token": "\([0-9a-f]*\)".*/\1/p' .kernelites/channel.json)
  request=.kernelites/requests/a$n
  printf '{"version": 1, "token": "%s", "name": "%s", "arguments": "%s"}' "$token" "$1" "$2" >$request.tmp
  mv $request.tmp $request.json
  while [ ! -e .kernelites/replies/a$n.json ]; do sleep 0.02; done
  cat .kernelites/replies/a$n.json
  echo
}
case $mode in
  answer) echo "HOME=$HOME"; cat >input.txt; grep -c . input.txt; ls ;;
  json) echo '{"result": "faster", "total_cost_usd": 0.25, "usage": {"input_tokens": 7, "output_tokens": 3}}' ;;
  hang) trap '' TERM INT HUP; sleep "$mark" & wait; sleep "$mark" ;;
  flood) yes 'a line of no use' ;;
  fill) while :; do head -c 4000000 /dev/zero >>"f$((n = n + 1))"; done ;;
  fork)
    setsid sh -c "setsid sleep $mark & sleep $mark" >/dev/null 2>&1 &
    (trap '' HUP; nohup sleep "$mark" >/dev/null 2>&1 &)
    for i in 1 2 3 4 5 6 7 8; do sleep "$mark" & done
    echo started ;;
  write)
    for target in "$outside/new.txt" ../new.txt /tmp/kernelites-agent /var/tmp/kernelites-agent /dev/shm/x \
      /proc/1/comm; do
      (echo out >"$target") 2>/dev/null && echo "wrote $target"
    done
    ln -s "$outside/secret.txt" link && (echo out >link) 2>/dev/null && echo "wrote through a link"
    chmod 0777 "$outside/secret.txt" 2>/dev/null && echo "changed a mode"
    touch -d 2001-01-01 "$outside/secret.txt" 2>/dev/null && echo "changed a time"
    mv "$outside/secret.txt" stolen.txt 2>/dev/null && echo "moved a file"
    ln "$outside/secret.txt" hard.txt 2>/dev/null && echo "made a hard link"
    mkdir "$outside/folder" 2>/dev/null && echo "made a folder"
    mknod disk b 8 0 2>/dev/null && echo "made a device"
    mount -t tmpfs x "$outside" 2>/dev/null && echo "mounted"
    echo mine >mine.txt && echo done ;;
  read)
    look "$outside/secret.txt" ../secret.txt ../../secret.txt /etc/shadow /proc/1/environ /proc/1/mem
    ls "$outside" 2>/dev/null && echo "listed the run"
    ls "$(getent passwd "$(id -u)" | cut -d: -f6)" 2>/dev/null && echo "listed the home folder"
    env ;;
  tools) ask check '{\"candidate\":\"c1\"}'; ask shell '{}'; ask time '{\"candidate\":\"c1\"}'; echo over ;;
  tool_then_hang) sleep "$mark" & ask submit '{\"candidate\":\"c1\"}' >answer.txt; sleep "$mark" ;;
  tool_flood)
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
      ln -s /etc/passwd .kernelites/requests/l$i.json
      echo '{' >.kernelites/requests/t$i.json
    done
    ask check '{}' ;;
  kill) kill -9 -1 2>/dev/null; kill -9 1 "$PPID" 2>/dev/null; echo alive ;;
  fail) echo "no licence for $AGENT_KEY" >&2; exit 7 ;;
esac
