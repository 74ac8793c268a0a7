#!/usr/bin/env bash
#SBATCH --job-name pqv
#SBATCH --ntasks-per-node 1
#SBATCH --time 24:00:00
# Trains a job that `pqv finetune --engine torchrun --prepare-only` wrote, on all GPUs of all machines that SLURM gives:
#
#     sbatch --nodes 2 --gpus-per-node 8 examples/imagenet/slurm.sh /shared/tuned/torchrun
#
# The folder must be seen by all of them, and a Python with torch and timm be the one on the PATH. Run again, it goes on.
set -euo pipefail

job=$1
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun \
  --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --max-restarts 3 \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:29500" \
  "$job/trainer/train.py" "$job"
