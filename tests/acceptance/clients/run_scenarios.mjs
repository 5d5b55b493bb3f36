// Call every export of a program beside this file; print each one's end as a JSON line.

const scenarios = await import(`./${process.argv[2]}.mjs`);
for (const [scenario, act] of Object.entries(scenarios)) {
  let end;
  try {
    end = { scenario, result: await act() };
  } catch (error) {
    const status = error.statusCode ?? error.response?.status ?? "";
    end = {
      scenario,
      raised: `${error.name} ${status}: ${error.message}`,
      trace: error.stack,
    };
  }
  console.log(JSON.stringify(end));
}
