#!/usr/bin/env bash
# The figures of the paper profile on the GPUs of a SLURM cluster, and the book with them:
#
#     sbatch tools/slurm.sh                    from the folder of the repository
#     sbatch --ntasks=8 tools/slurm.sh         with more GPUs
#     PROFILE=smoke sbatch tools/slurm.sh      to see that everything works
#
# Once before, on a node that reaches the internet: make build/.. with `make figures ARGS='--profile
# smoke'`, which installs into .venv, and `.venv/bin/stylelab fetch`. Output folder: build/.
#SBATCH --job-name=stylelab
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=08:00:00
#SBATCH --requeue
set -euo pipefail
profile=${PROFILE:-paper} network=${NETWORK:-vgg19}
cd "${SLURM_SUBMIT_DIR:-.}"
export PATH=$PWD/.venv/bin:$PATH OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
scheduler=$PWD/build/scheduler-${SLURM_JOB_ID:-0}.json
mkdir -p build

dask scheduler --scheduler-file "$scheduler" --port 0 --no-dashboard &
watch=$!
trap 'kill $(jobs -p) 2>/dev/null; rm -f "$scheduler"' EXIT
until [ -s "$scheduler" ]; do
  kill -0 $watch # or the scheduler did not start
  sleep 1
done
# One worker for each task, on the GPU that SLURM gives it.
srun dask worker --scheduler-file "$scheduler" --nthreads 1 --no-dashboard --resources "GPU=1" \
  --local-directory "${TMPDIR:-/tmp}" &

# What is up to date is not made again, so a job that was requeued goes on.
stylelab figures --profile "$profile" --network "$network" --scheduler "$scheduler" --resources GPU=1
stylelab verify "build/$profile-$network"
tools/book_of_run.sh "build/$profile-$network"
