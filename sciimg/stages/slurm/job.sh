# Below the settings of one stage, which stand above, this is the same for every stage: wait for its inputs, run it, say how it ended.
note="$NOTE.$SLURM_JOB_ID" here=${SLURMD_NODENAME:-$(hostname)} asked=
trap 'asked=yes' USR1 # the time limit is near

# finish CODE [FILE]: leave exit code, node and the digest of the file that tells the rest, whole or not at all.
finish() {
    local told=-
    [ -e "${2:-}" ] && told=$(sha256sum <"$2" | cut -d ' ' -f 1)
    printf '%s %s %s\n' "$1" "$here" "$told" >"$note.part" && sync "$note.part" && mv "$note.part" "$note.rc"
    exit "$1"
}

# The same job goes on in a new slot, unless nothing came of this one: then it would go on for ever.
later() {
    local now
    now=$(find "$RUN/.$STAGE.partial" -type f -printf '%P %i %s %T@\n' 2>/dev/null | sort | cksum)
    [ "$now" = "$(cat "$note.seen" 2>/dev/null)" ] && finish 124
    [ "${SLURM_RESTART_COUNT:-0}" -ge "$RESTARTS" ] && finish 123
    echo "$now" >"$note.seen"
    echo "sciimg: job $SLURM_JOB_ID goes on in a new slot"
    scontrol requeue "$SLURM_JOB_ID" || finish 122
    sleep 600 # the requeue ends this script
}

echo "sciimg: job $SLURM_JOB_ID, attempt $((${SLURM_RESTART_COUNT:-0} + 1)), on $SLURM_JOB_NODELIST"
rm -f "$note.rc"
make_ready
"$PYTHON" -c 'import sciimg.stages' || { echo "sciimg: node $here has no $PYTHON with sciimg"; finish 127; }
for ((waited = 0; ; waited++)); do # what another node wrote may be visible here a little later
    ls "$RUN" >/dev/null 2>&1
    sha256sum --check --status <<<"$NEEDS" 2>/dev/null && break
    ((waited >= WAIT_S)) && finish 121
    sleep 1
done

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_ADDR=$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000)) SCIIMG_LOCK_PATIENCE_S=$WAIT_S
# An ignored signal stays ignored until the stage has a handler of its own, so that an early one does not end it.
srun --ntasks="$TASKS" --cpus-per-task="$CPUS" --kill-on-bad-exit=0 --wait=60 \
    bash -c 'trap "" USR1; exec "$@"' stage "$PYTHON" -m sciimg.stages "$STAGE" "$RUN" &
step=$!
left=$GRACE_S
while kill -0 "$step" 2>/dev/null && ((left >= 0)); do
    sleep 1
    [ -n "$asked" ] && ((left-- == GRACE_S)) && kill -USR1 "$step" # srun passes it on to every task
done
kill -0 "$step" 2>/dev/null && later
wait "$step"
code=$?
case $code in
    0) finish 0 "$RUN/$STAGE/stage.json" ;;
    85) later ;;
    *) finish "$code" "$NOTE.problems.json" ;;
esac
