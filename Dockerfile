# One image for every process; what it runs is the command (compose.yaml).
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY endpoints endpoints
COPY gateway gateway
COPY models models
COPY tasks tasks
COPY workers workers
RUN pip install --no-cache-dir --constraint constraints.txt . \
    && useradd --create-home --uid 1000 pressroom \
    && mkdir /data && chown pressroom /data
USER pressroom
ENV PRESSROOM_DATA_DIR=/data
ENTRYPOINT ["pressroom"]
CMD ["run", "worker"]
