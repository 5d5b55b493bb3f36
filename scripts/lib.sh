# Sourced by the scripts beside it: a virtual environment in .venv, made once and kept up to date.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3.14 python3; do
        if [ -n "$candidate" ] && "$candidate" -c \
            'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer, with its venv module, was not found; name one in PYTHON" >&2
    return 1
}

# ensure_venv EXTRA: install the project, with an extra or none, if anything it rests on changed.
ensure_venv() {
    local extra=$1 wanted stamp=.venv/.installed${1:+-$1}
    wanted=$(cat pyproject.toml constraints.txt | cksum)
    if [ ! -x .venv/bin/python ]; then
        "$(find_python)" -m venv .venv
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing what is needed into .venv (a minute the first time)" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --constraint constraints.txt --editable ".${extra:+[$extra]}"
        echo "$wanted" > "$stamp"
    fi
}

# ensure_rivals: what a benchmark is measured against, in an environment apart. What it brings along
# would change how the project itself works.
ensure_rivals() {
    local wanted stamp=.venv/rivals/.installed needs=scripts/benches/rivals
    wanted=$(cat $needs/requirements.txt $needs/constraints.txt | cksum)
    if [ ! -x .venv/rivals/bin/python ]; then
        .venv/bin/python -m venv .venv/rivals
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing what is measured beside it into .venv/rivals (a minute)" >&2
        .venv/rivals/bin/python -m pip install --quiet --disable-pip-version-check \
            --constraint $needs/constraints.txt --requirement $needs/requirements.txt
        echo "$wanted" > "$stamp"
    fi
}
