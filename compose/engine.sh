# Sourced by the scripts beside it: which Docker there is, which compose, which settings.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ENV_FILE=${ENV_FILE:-$ROOT/.env}
DIGESTS_FILE=${DIGESTS_FILE:-$ROOT/docker-compose.digests.yaml} # of a release: each image by digest
DOCKER_UNUSABLE=3 # exit status: nothing was tried, because Docker cannot be used here

say() { printf 'windsock: %s\n' "$*"; }
refuse() { # refuse STATUS SENTENCE
  printf 'windsock: %s\n' "$2" >&2
  exit "$1"
}

need_docker() { # sets COMPOSE, or ends with a sentence that says what to do
  command -v docker >/dev/null ||
    refuse $DOCKER_UNUSABLE "Docker is not installed: there is no 'docker' command. 'make run' needs none; or install Docker Engine with its compose plugin (Debian: apt-get install docker.io docker-compose)."
  local error
  if ! error=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null); then
    case $error in
      *"permission denied"*) refuse $DOCKER_UNUSABLE "this user may not talk to Docker. Run it as root, or: sudo usermod -aG docker $(id -un), and log in anew." ;;
      *) refuse $DOCKER_UNUSABLE "Docker is installed and its daemon does not answer (${error##*$'\n'}). Start it: systemctl start docker, or Docker Desktop." ;;
    esac
  fi
  if docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif command -v docker-compose >/dev/null; then
    COMPOSE=(docker-compose)
  else
    refuse $DOCKER_UNUSABLE "Docker is here and compose is not: install its compose plugin, or docker-compose 1.29 (Debian: apt-get install docker-compose)."
  fi
}

declare -A PROFILE_SERVICES=( # also in docker-compose.yaml; 1.29 does not list them
  [celery]="redis airflow-worker-1 airflow-worker-2"
  [scale]="monitor-postgres monitor-1 monitor-2 load-balancer"
  [observability]="prometheus grafana"
)

profiles() { setting COMPOSE_PROFILES | tr ',' ' '; }
has_profile() { [[ " $(profiles) " = *" $1 "* ]]; }

build_labels() { # what the images' labels say of them; the date is the commit's, so that layers are kept
  VERSION=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$ROOT/monitor/__init__.py")
  REVISION=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)
  CREATED=$(git -C "$ROOT" log -1 --format=%cI 2>/dev/null || true)
  export VERSION REVISION CREATED
}

compose() {
  local files=(--file "$ROOT/docker-compose.yaml")
  [ ! -e "$DIGESTS_FILE" ] || files+=(--file "$DIGESTS_FILE")
  "${COMPOSE[@]}" --project-directory "$ROOT" "${files[@]}" --env-file "$ENV_FILE" "$@"
}

setting() { # setting NAME: as compose reads it, the environment before .env; the file's last line wins
  local value=${!1:-}
  [ -n "$value" ] || value=$(sed -n "s/^$1=//p" "$ENV_FILE" | tail -1)
  value=${value#[\"\']}
  printf '%s\n' "${value%[\"\']}"
}

containers() { # containers FORMAT: one line for each of the stack's containers
  docker ps --all --quiet --filter "label=com.docker.compose.project=$(setting COMPOSE_PROJECT_NAME)" |
    xargs --no-run-if-empty docker inspect --format "{{index .Config.Labels \"com.docker.compose.service\"}} $1"
}
