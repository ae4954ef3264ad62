/* Lets a button play the steps of a slider, up to the last, and the slider itself choose one. */
function playsSteps(slider, play, show) {
  const isAtEnd = () => slider.value === slider.max;
  let timer = null;

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "play");
  }

  function start() {
    if (isAtEnd()) slider.value = 0;
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (isAtEnd()) stop();
    }, 300);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "pause");
    show();
  }

  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => (timer === null ? start() : stop()));
  play.disabled = slider.disabled = slider.max === "0";
}
