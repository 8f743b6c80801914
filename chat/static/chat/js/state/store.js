/** Small things that are kept in this browser. A browser that forbids it loses nothing but the keeping. */

export const store = {
  get(name) {
    try {
      return localStorage.getItem(`jarvis.${name}`);
    } catch {
      return null;
    }
  },

  /** An empty value forgets the name. */
  set(name, value) {
    try {
      if (value) localStorage.setItem(`jarvis.${name}`, value);
      else localStorage.removeItem(`jarvis.${name}`);
    } catch {
      // full or forbidden
    }
  },

  /** Forgets every name that begins so. */
  clear(beginning) {
    try {
      for (const key of Object.keys(localStorage)) {
        if (key.startsWith(`jarvis.${beginning}`)) localStorage.removeItem(key);
      }
    } catch {
      // forbidden: then nothing was kept
    }
  },
};
